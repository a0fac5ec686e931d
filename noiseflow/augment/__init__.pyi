from .augmentation import Augmentation as Augmentation
from .camera_noise import AddCameraNoise as AddCameraNoise
from .denoise.export import export_photo_denoiser as export_photo_denoiser
from .denoise.files import load_photo_denoiser as load_photo_denoiser
from .denoise.network import PhotoDenoiser as PhotoDenoiser, PhotoDenoiserSpec as PhotoDenoiserSpec
from .denoise.noise_line import NoiseLine as NoiseLine, find_noise as find_noise
from .denoise.photo import denoise_photo as denoise_photo
from .denoise.photo_file import DenoisedPhoto as DenoisedPhoto, denoise_photo_file as denoise_photo_file
from .denoise.shipped import shipped_denoiser as shipped_denoiser
from .denoise.training.train import (
    DenoiserSettings as DenoiserSettings,
    train_photo_denoiser as train_photo_denoiser,
)
from .distributions import AutoExposure as AutoExposure, Choice as Choice, LogUniform as LogUniform, Uniform as Uniform
from .fixed_pattern import FixedPattern as FixedPattern, pattern_from_profile as pattern_from_profile
from .frames.denoising import denoise_frame as denoise_frame
from .frames.frame import NoisyFrame as NoisyFrame, sample_burst as sample_burst, sample_frame as sample_frame
from .frames.preview import develop as develop, write_preview as write_preview
from .frames.to_files import sample_to_files as sample_to_files
from .frames.write import WRITERS as WRITERS, write_frame as write_frame
from .noisy_batch import NoisyBatch as NoisyBatch
from .pictures.picture_noise import AddNoiseToPictures as AddNoiseToPictures
from .stabilise.curve_stabiliser import CurveStabiliser as CurveStabiliser, stabiliser_of_points as stabiliser_of_points
from .stabilise.merging import merge_frames as merge_frames
from .stabilise.variance_stabiliser import (
    VarianceStabiliser as VarianceStabiliser,
    export_stabiliser as export_stabiliser,
    stabiliser_of as stabiliser_of,
)
from .synthesis.synthesis import Synthesis as Synthesis, synthesize as synthesize
from .transfer import Transferred as Transferred, transfer_frame as transfer_frame, transfer_noise as transfer_noise
