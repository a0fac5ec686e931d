from . import (
    augment as augment,
    calibrate as calibrate,
    cli as cli,
    core as core,
    evaluate as evaluate,
    fit as fit,
    flows as flows,
    models as models,
    ops as ops,
    patches as patches,
    raw as raw,
    simulate as simulate,
)
from .augment import (
    AddCameraNoise as AddCameraNoise,
    denoise_frame as denoise_frame,
    sample_frame as sample_frame,
    synthesize as synthesize,
)
from .calibrate import measure_picture as measure_picture, sample_camera as sample_camera
from .cli.workflows.describe import describe as describe
from .core.errors import NoiseflowError as NoiseflowError
from .core.version import __version__ as __version__
from .evaluate import write_report as write_report
from .flows import Conditions as Conditions
from .models import (
    ModelSpec as ModelSpec,
    NoiseModel as NoiseModel,
    build as build,
    list_cameras as list_cameras,
    load as load,
    load_denoiser as load_denoiser,
)
from .patches import PatchStore as PatchStore, ingest as ingest
from .raw import RawImage as RawImage, read_raw as read_raw
