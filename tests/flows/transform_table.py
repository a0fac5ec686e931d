"""The table of transforms that the contract walks: a new transform is one new line here."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from noiseflow.flows import Conditions
from noiseflow.flows.autoregressive.transform import MaskedAutoregressive
from noiseflow.flows.camera.bent_scale import BentScale
from noiseflow.flows.camera.column_noise import ColumnNoise
from noiseflow.flows.camera.cubic_tails import CubicTails
from noiseflow.flows.camera.gain import Gain
from noiseflow.flows.camera.line_noise import LineNoise
from noiseflow.flows.camera.neighbour_filter import NeighbourFilter
from noiseflow.flows.camera.neighbour_rows import NeighbourRows
from noiseflow.flows.camera.row_memory import RowMemory
from noiseflow.flows.camera.row_noise import RowNoise
from noiseflow.flows.camera.shot_read_scale import ShotReadScale
from noiseflow.flows.camera.signal_dependent_scale import SignalDependentScale
from noiseflow.flows.camera.sinh_arcsinh import SinhArcsinh
from noiseflow.flows.camera.telegraph_tails import TelegraphTails
from noiseflow.flows.combinators import Inverse, Reversed, Split, Squeezed
from noiseflow.flows.coupling import masks
from noiseflow.flows.coupling.affine import AffineCoupling
from noiseflow.flows.coupling.masked_affine import MaskedAffineCoupling
from noiseflow.flows.coupling.spline import PixelSpline, SplineCoupling, spline_outputs
from noiseflow.flows.linear.actnorm import ActNorm
from noiseflow.flows.linear.conv1x1 import InvertibleConv1x1
from noiseflow.flows.linear.householder import HouseholderConv1x1
from noiseflow.flows.nets.border_aware_net import BorderAwareNet
from noiseflow.flows.nets.conditional_net import ConditionalNet
from noiseflow.flows.nets.masked_net import MaskedNet
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform

CAMERAS = 3
ISOS = (100.0, 400.0, 1600.0)
PLANES = 4


@dataclass(frozen=True)
class Case:
    """How to make a transform, and what it is fit for.

    `make` gets a generator for starting weights; `spread` is the standard deviation of what is
    added to every parameter, so that no test is about an identity; `sizes` are H×W to try.
    """

    make: Callable[[torch.Generator], Transform]
    planes: int = PLANES
    spread: float = 0.3
    sizes: tuple[tuple[int, int], ...] = ((3, 2), (1, 1), (1, 5), (7, 4))


def net(inputs: int, outputs: int, g: torch.Generator, kernel: int = 3, planes: int = PLANES) -> ConditionalNet:
    return ConditionalNet(inputs, outputs, planes, CAMERAS, 6, kernel, generator=g)


def own_signal_net(g: torch.Generator) -> ConditionalNet:
    return ConditionalNet(PLANES, 2 * PLANES, PLANES, CAMERAS, 6, generator=g, own_signal=True)


def autoregressive(g: torch.Generator, planes: int = PLANES, above: int = 1, beside: int = 2) -> MaskedAutoregressive:
    return MaskedAutoregressive(MaskedNet(planes, CAMERAS, 2 * planes, above, beside, generator=g))


def squeezed_coupling(planes: int, inputs: int, g: torch.Generator) -> Squeezed:
    """On `inputs` of `planes` planes, as a multi-scale flow has it."""
    coupler = ConditionalNet(4 * inputs, 8 * inputs, 4 * planes, CAMERAS, 6, generator=g)
    return Squeezed([InvertibleConv1x1(4 * inputs, g), MaskedAffineCoupling(coupler, masks.channel())])


class WithHead(Transform):
    """A transform behind a head that shares its noise parameters, and behind the kurtosis of read noise.

    Of a clean signal of 0 to 1 the read noise's share is 1 down to 0.1, the skewness 0 to 0.5.
    """

    def __init__(self, inner: Transform, planes: int = PLANES, kurtosis: float = -0.2) -> None:
        super().__init__()
        self.head = ShotReadScale(planes, CAMERAS, ISOS, shares_features=True)
        self.kurtosis = kurtosis
        self.inner = inner
        self.reach, self.elementwise = inner.reach, inner.elementwise
        self.whole_rows = getattr(inner, "whole_rows", False)
        nn.init.constant_(self.head.log_beta1, -2.0)
        nn.init.constant_(self.head.log_beta2, -4.0)

    def found(self, cond: Conditions) -> NoiseParameters:
        noise = self.head.noise_parameters(cond)
        return replace(noise, read_excess=torch.full_like(cond.iso, self.kurtosis, dtype=cond.clean.dtype))

    def forward(self, x: Tensor, cond: Conditions, noise: NoiseParameters | None = None) -> tuple[Tensor, Tensor]:
        z, log_det = self.inner(x, cond, self.found(cond))
        return z, log_det

    def inverse(self, z: Tensor, cond: Conditions, noise: NoiseParameters | None = None) -> Tensor:
        return self.inner.inverse(z, cond, self.found(cond))


def heavy(tails: CubicTails) -> CubicTails:
    nn.init.constant_(tails.kurtosis, 2.0)
    return tails


def jumping(tails: TelegraphTails) -> TelegraphTails:
    nn.init.constant_(tails.log_rate, -3.0)
    return tails


def rows(planes: int, axis: str) -> WithHead:
    return WithHead(LineNoise(planes, CAMERAS, ISOS, axis, 0.5, in_read_noise=True), planes)


def flickering_rows(planes: int) -> WithHead:
    return WithHead(RowNoise(planes, CAMERAS, ISOS, 0.5, 0.3), planes)


def remembering_rows(planes: int) -> WithHead:
    return WithHead(RowMemory(planes, CAMERAS, ISOS, 0.5, 0.3, 0.7, 0.4, 0.6), planes)


def rows_among_neighbours(planes: int) -> WithHead:
    found = NeighbourRows(planes, CAMERAS, ISOS, 0.5, 0.3, 0.7, 0.4, 0.6)
    found.taps.copy_(torch.tensor([1.1, -0.2, 0.1, 0.05, -0.1]))
    return WithHead(found, planes)


def added_columns(planes: int) -> WithHead:
    columns = ColumnNoise(planes, CAMERAS, ISOS, 0.5)
    nn.init.constant_(columns.log_rows, -0.5)
    return WithHead(columns, planes)


SPLINE = spline_outputs(PLANES, 5)
ODD_SPLINE = spline_outputs(PLANES, 6, odd=True)

TRANSFORMS: dict[str, Case] = {
    "gain": Case(lambda g: Gain(0.3)),
    "signal_dependent": Case(lambda g: SignalDependentScale(CAMERAS, ISOS)),
    "conv1x1": Case(lambda g: InvertibleConv1x1(PLANES, g)),
    "conv1x1_one_plane": Case(lambda g: InvertibleConv1x1(1, g), planes=1),
    "coupling": Case(lambda g: AffineCoupling(BorderAwareNet(2, 4, generator=g), reach=2)),
    "coupling_three_planes": Case(lambda g: AffineCoupling(BorderAwareNet(1, 4, generator=g), reach=2), planes=3),
    "actnorm": Case(lambda g: ActNorm(PLANES)),
    "householder": Case(lambda g: HouseholderConv1x1(PLANES, generator=g)),
    "shot_read": Case(lambda g: ShotReadScale(PLANES, CAMERAS, ISOS)),
    "bent": Case(lambda g: BentScale(PLANES, CAMERAS, ISOS)),
    "row_noise": Case(lambda g: LineNoise(PLANES, CAMERAS, ISOS, start=0.5)),
    "row_noise_one_plane": Case(lambda g: rows(1, "row"), planes=1),
    "flickering_rows": Case(lambda g: flickering_rows(PLANES)),
    "flickering_rows_one_plane": Case(lambda g: flickering_rows(1), planes=1),
    "remembering_rows": Case(lambda g: remembering_rows(PLANES)),
    "rows_among_neighbours": Case(lambda g: rows_among_neighbours(PLANES)),
    "remembering_rows_one_plane": Case(lambda g: remembering_rows(1), planes=1),
    "neighbours_of_a_mosaic": Case(lambda g: NeighbourFilter(PLANES, CAMERAS, ISOS), spread=0.05),
    "neighbours_of_a_plane": Case(lambda g: NeighbourFilter(PLANES, CAMERAS, ISOS, "plane"), spread=0.05),
    "neighbours_of_one_plane": Case(lambda g: NeighbourFilter(1, CAMERAS, ISOS), planes=1, spread=0.05),
    "column_noise": Case(lambda g: rows(PLANES, "column")),
    "columns_that_add": Case(lambda g: added_columns(PLANES)),
    "columns_that_add_one_plane": Case(lambda g: added_columns(1), planes=1),
    "skew": Case(lambda g: WithHead(SinhArcsinh(CAMERAS, ISOS))),
    "tails": Case(lambda g: heavy(CubicTails(CAMERAS, ISOS))),
    "tails_by_share": Case(lambda g: WithHead(heavy(CubicTails(CAMERAS, ISOS, by_read_share=True)))),
    "telegraph_tails": Case(lambda g: WithHead(jumping(TelegraphTails(CAMERAS, ISOS)))),
    "channel_coupling": Case(lambda g: MaskedAffineCoupling(net(4, 8, g), masks.channel())),
    "own_signal_coupling": Case(lambda g: MaskedAffineCoupling(own_signal_net(g), masks.channel())),
    "checkerboard_coupling": Case(lambda g: MaskedAffineCoupling(net(4, 8, g), masks.checkerboard(True))),
    "row_coupling": Case(lambda g: MaskedAffineCoupling(net(1, 2, g, planes=1), masks.rows(True)), planes=1),
    "spline_coupling": Case(lambda g: SplineCoupling(net(4, SPLINE, g), masks.channel(True), 5)),
    "squeezed": Case(lambda g: squeezed_coupling(PLANES, PLANES, g), sizes=((4, 2), (3, 3), (2, 5), (7, 4))),
    "squeezed_one_plane": Case(lambda g: squeezed_coupling(1, 1, g), planes=1, sizes=((4, 2), (3, 3), (6, 5))),
    "split": Case(lambda g: Split([squeezed_coupling(PLANES, 2, g)]), sizes=((4, 2), (3, 3), (6, 5))),
    "autoregressive": Case(autoregressive, spread=0.1),
    "autoregressive_one_plane": Case(lambda g: autoregressive(g, 1), planes=1, spread=0.1),
    "autoregressive_in_rows": Case(lambda g: autoregressive(g, above=0, beside=3), spread=0.1),
    "reversed_autoregressive": Case(lambda g: Reversed(autoregressive(g)), spread=0.1),
    "inverse_autoregressive": Case(lambda g: Inverse(autoregressive(g)), spread=0.1),
    "inverse_coupling": Case(lambda g: Inverse(MaskedAffineCoupling(net(4, 8, g), masks.channel()))),
    "pixel_spline": Case(lambda g: PixelSpline(net(0, SPLINE, g, kernel=1), 5)),
    "odd_pixel_spline": Case(lambda g: PixelSpline(net(0, ODD_SPLINE, g, kernel=1), 6, odd=True)),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randomised(module: nn.Module, spread: float, seed: int = 1) -> nn.Module:
    """The module in float64 and evaluation mode, its parameters moved by N(0, spread²)."""
    module = module.double().eval()
    draw = generator(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += spread * torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype)
    return module


def made(case: Case, seed: int = 1) -> Transform:
    transform = randomised(case.make(generator(seed)), case.spread, seed)
    assert isinstance(transform, Transform)
    return transform


def conditions(batch: int, planes: int, height: int, width: int, seed: int = 2) -> Conditions:
    """Every element of another camera, at another ISO (between knots, and beyond them), in another light."""
    clean = torch.rand(batch, planes, height, width, generator=generator(seed), dtype=torch.float64)
    iso = torch.tensor([100.0, 3000.0, 320.0, 60.0, 400.0], dtype=torch.float64)[:batch]
    camera = torch.tensor([1, 0, 2, 1, 0])[:batch]
    return Conditions(clean, iso, camera)


def noise_like(cond: Conditions, seed: int = 3, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(cond.clean.shape, generator=generator(seed), dtype=cond.clean.dtype)


def single(cond: Conditions, row: int) -> Conditions:
    return Conditions(cond.clean[row : row + 1], cond.iso[row : row + 1], cond.camera[row : row + 1])


def as_dtype(cond: Conditions, dtype: torch.dtype) -> Conditions:
    return Conditions(cond.clean.to(dtype), cond.iso.to(dtype), cond.camera)
