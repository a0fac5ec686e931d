"""What cameras are like: a prior over their noise, learnt from cameras with published numbers."""
