"""What the directories of TIFF-based files say: metadata, levels, all in one look."""
