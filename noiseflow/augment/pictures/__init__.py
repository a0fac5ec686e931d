"""Noise on sRGB pictures: unprocessed to raw planes, and developed again."""
