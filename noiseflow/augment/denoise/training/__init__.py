"""How a photo denoiser is trained: drawn cameras, clean pictures, the loss."""
