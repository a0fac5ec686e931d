"""Noise where it is used: whole frames in, noisy frames out; batches in training loops."""

from noiseflow.augment.camera_noise import AddCameraNoise, NoisyBatch
from noiseflow.augment.distributions import AutoExposure, Choice, LogUniform, Uniform
from noiseflow.augment.frame import NoisyFrame, sample_frame
from noiseflow.augment.write import WRITERS, write_frame

__all__ = [
    "WRITERS",
    "AddCameraNoise",
    "AutoExposure",
    "Choice",
    "LogUniform",
    "NoisyBatch",
    "NoisyFrame",
    "Uniform",
    "sample_frame",
    "write_frame",
]
