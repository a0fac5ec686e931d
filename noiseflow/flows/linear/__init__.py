"""Linear transforms across planes."""
