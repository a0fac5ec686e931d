"""Offsets of whole rows and columns of a photo: how strong they are, and the most likely ones."""
