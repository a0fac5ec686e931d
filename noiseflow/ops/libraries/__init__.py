"""Where the library of a kernel comes from: the wheel, this user's cache, or a compiler on this machine."""
