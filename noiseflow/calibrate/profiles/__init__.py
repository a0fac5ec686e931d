"""Camera profiles: our file format, the shipped profiles, and the formats of other programs."""
