"""Training of a photo denoiser: drawn cameras, clean pictures, and the loss."""
