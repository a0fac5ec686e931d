"""Statistics over the frames of a scene: sums, defects, motion."""
