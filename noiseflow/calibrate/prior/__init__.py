"""A prior over the noise of cameras, learnt from cameras with published numbers, and few-shot calibration with it."""
