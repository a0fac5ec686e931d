"""Row and column offsets of a photo: their strength, and their posterior mean."""
