"""Noise on sRGB pictures: back to raw planes, and developed again."""
