"""Simulated cameras that a default fit is tried on: what it finds of them, and what its samples lack."""
