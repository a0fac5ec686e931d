"""Read the tags of TIFF-based files: metadata, levels, colour filter array."""
