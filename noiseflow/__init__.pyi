from . import (
    augment as augment,
)
from . import (
    calibrate as calibrate,
)
from . import (
    cli as cli,
)
from . import (
    core as core,
)
from . import (
    evaluate as evaluate,
)
from . import (
    fit as fit,
)
from . import (
    flows as flows,
)
from . import (
    models as models,
)
from . import (
    ops as ops,
)
from . import (
    patches as patches,
)
from . import (
    raw as raw,
)
from . import (
    simulate as simulate,
)
from . import (
    workflows as workflows,
)
from .augment import sample_frame as sample_frame
from .core.errors import NoiseflowError as NoiseflowError
from .core.version import __version__ as __version__
from .evaluate import write_report as write_report
from .flows import Conditions as Conditions
from .models import ModelSpec as ModelSpec
from .models import NoiseModel as NoiseModel
from .models import build as build
from .models import load as load
from .models import load_denoiser as load_denoiser
from .patches import PatchStore as PatchStore
from .raw import RawImage as RawImage
from .raw import read_raw as read_raw
