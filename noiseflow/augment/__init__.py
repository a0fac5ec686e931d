"""Noise where it is used: whole frames in, noisy frames out; batches in training loops."""

from noiseflow.augment.camera_noise import AddCameraNoise, NoisyBatch
from noiseflow.augment.denoise import denoise_frame
from noiseflow.augment.distributions import AutoExposure, Choice, LogUniform, Uniform
from noiseflow.augment.frame import NoisyFrame, sample_frame
from noiseflow.augment.synthesis import Synthesis, synthesize
from noiseflow.augment.write import WRITERS, write_frame

__all__ = [
    "WRITERS",
    "AddCameraNoise",
    "AutoExposure",
    "Choice",
    "LogUniform",
    "NoisyBatch",
    "NoisyFrame",
    "Synthesis",
    "Uniform",
    "denoise_frame",
    "sample_frame",
    "synthesize",
    "write_frame",
]
