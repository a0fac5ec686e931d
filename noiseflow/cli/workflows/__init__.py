"""What spans all rooms: the demo and `describe`."""
