from .autoregressive.transform import MaskedAutoregressive as MaskedAutoregressive
from .camera.cubic_tails import CubicTails as CubicTails
from .camera.gain import Gain as Gain
from .camera.line_noise import LineNoise as LineNoise
from .camera.shot_read_scale import ShotReadScale as ShotReadScale
from .camera.signal_dependent_scale import SignalDependentScale as SignalDependentScale
from .camera.sinh_arcsinh import SinhArcsinh as SinhArcsinh
from .combinators import Inverse as Inverse, Reversed as Reversed, Split as Split, Squeezed as Squeezed
from .conditions import Conditions as Conditions, Resolved as Resolved
from .coupling.affine import AffineCoupling as AffineCoupling
from .coupling.masked_affine import MaskedAffineCoupling as MaskedAffineCoupling
from .coupling.spline import PixelSpline as PixelSpline, SplineCoupling as SplineCoupling
from .flow import Flow as Flow, StandardNormal as StandardNormal
from .linear.actnorm import ActNorm as ActNorm
from .linear.conv1x1 import InvertibleConv1x1 as InvertibleConv1x1
from .linear.householder import HouseholderConv1x1 as HouseholderConv1x1
from .nets.border_aware_net import BorderAwareNet as BorderAwareNet
from .nets.conditional_net import ConditionalNet as ConditionalNet
from .nets.masked_net import MaskedNet as MaskedNet
from .registry import TRANSFORMS as TRANSFORMS, Size as Size, build_layers as build_layers
from .signal_model import NoiseParameters as NoiseParameters
from .transform import Transform as Transform
