"""Sources of kernel libraries: the wheel, the user's cache, or a compiler on this machine."""
