"""Noise where it is used: whole frames in, noisy frames out."""

from noiseflow.augment.denoise import denoise_frame
from noiseflow.augment.frame import NoisyFrame, sample_frame
from noiseflow.augment.write import WRITERS, write_frame

__all__ = ["WRITERS", "NoisyFrame", "denoise_frame", "sample_frame", "write_frame"]
