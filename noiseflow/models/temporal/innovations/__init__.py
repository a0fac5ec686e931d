"""Laws of what the other parts leave of a frame, given what they left before."""
