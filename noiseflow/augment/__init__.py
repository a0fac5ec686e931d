"""Use of noise models: noisy whole frames and bursts, training batches, and synthesised data sets."""

from noiseflow.augment.augmentation import Augmentation
from noiseflow.augment.camera_noise import AddCameraNoise
from noiseflow.augment.distributions import AutoExposure, Choice, LogUniform, Uniform
from noiseflow.augment.fixed_pattern import FixedPattern, pattern_from_profile
from noiseflow.augment.frames.denoising import denoise_frame
from noiseflow.augment.frames.frame import NoisyFrame, sample_burst, sample_frame
from noiseflow.augment.frames.preview import develop, write_preview
from noiseflow.augment.frames.to_files import sample_to_files
from noiseflow.augment.frames.write import WRITERS, write_frame
from noiseflow.augment.noisy_batch import NoisyBatch
from noiseflow.augment.picture_noise import AddNoiseToPictures
from noiseflow.augment.stabilise.merging import merge_frames
from noiseflow.augment.stabilise.variance_stabiliser import VarianceStabiliser, export_stabiliser, stabiliser_of
from noiseflow.augment.synthesis.synthesis import Synthesis, synthesize
from noiseflow.augment.transfer import Transferred, transfer_frame, transfer_noise

__all__ = [
    "WRITERS",
    "AddCameraNoise",
    "AddNoiseToPictures",
    "Augmentation",
    "AutoExposure",
    "Choice",
    "FixedPattern",
    "LogUniform",
    "NoisyBatch",
    "NoisyFrame",
    "Synthesis",
    "Transferred",
    "Uniform",
    "VarianceStabiliser",
    "denoise_frame",
    "develop",
    "export_stabiliser",
    "merge_frames",
    "pattern_from_profile",
    "sample_burst",
    "sample_frame",
    "sample_to_files",
    "stabiliser_of",
    "synthesize",
    "transfer_frame",
    "transfer_noise",
    "write_frame",
    "write_preview",
]
