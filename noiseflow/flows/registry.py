"""Layers by name: builds flows from a JSON list of layers."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from noiseflow.core.errors import ModelError
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
from noiseflow.flows.transform import Transform

__all__ = ["TRANSFORMS", "Size", "build_layers"]

Layer = Mapping[str, Any]
"""``{"name": …}`` plus the layer's options, as in JSON."""


@dataclass(frozen=True, eq=False)
class Size:
    """Sizes that every layer of a flow needs: planes, cameras and ISOs.

    Parameters
    ----------
    planes : int
        Planes of the noise.
    cameras : int
        Number of cameras.
    isos : tuple of float
        Fitted ISOs, rising.
    generator : torch.Generator, optional
        Draws the initial weights.
    signal_planes : int, optional
        Planes of the clean signal; by default equal to `planes`.
    """

    planes: int
    cameras: int
    isos: tuple[float, ...]
    generator: torch.Generator | None = None
    signal_planes: int | None = None

    @property
    def of_signal(self) -> int:
        """Planes of the clean signal."""
        return self.planes if self.signal_planes is None else self.signal_planes


def _gain(size: Size, log_gain: float = 0.0) -> Gain:
    return Gain(log_gain)


def _signal_dependent_scale(size: Size, shares_features: bool = False) -> SignalDependentScale:
    return SignalDependentScale(size.cameras, size.isos, shares_features=shares_features)


def _bent_scale(size: Size, shares_features: bool = False) -> BentScale:
    return BentScale(size.of_signal, size.cameras, size.isos, shares_features=shares_features)


def _shot_read_scale(size: Size, shares_features: bool = False) -> ShotReadScale:
    return ShotReadScale(size.of_signal, size.cameras, size.isos, shares_features=shares_features)


def _line_noise(size: Size, axis: str = "row", start: float = 3e-3, in_read_noise: bool = False) -> LineNoise:
    return LineNoise(size.planes, size.cameras, size.isos, axis, start, in_read_noise=in_read_noise)


def _neighbour_filter(size: Size, grid: str = "mosaic") -> NeighbourFilter:
    return NeighbourFilter(size.planes, size.cameras, size.isos, grid)


def _row_noise(size: Size, start: float = 3e-3, flicker: float = 1e-7) -> RowNoise:
    return RowNoise(size.planes, size.cameras, size.isos, start, flicker)


def _row_memory(
    size: Size, start: float = 3e-3, flicker: float = 1e-7, memory: float = 1e-3, drift: float = 1e-7
) -> RowMemory:
    return RowMemory(size.planes, size.cameras, size.isos, start, flicker, memory, drift)


def _neighbour_rows(size: Size, start: float = 3e-3, flicker: float = 1e-7) -> NeighbourRows:
    return NeighbourRows(size.planes, size.cameras, size.isos, start, flicker)


def _sinh_arcsinh(size: Size) -> SinhArcsinh:
    return SinhArcsinh(size.cameras, size.isos)


def _column_noise(size: Size, start: float = 3e-3) -> ColumnNoise:
    return ColumnNoise(size.planes, size.cameras, size.isos, start)


def _cubic_tails(size: Size, by_read_share: bool = False) -> CubicTails:
    return CubicTails(size.cameras, size.isos, by_read_share=by_read_share)


def _telegraph_tails(size: Size) -> TelegraphTails:
    return TelegraphTails(size.cameras, size.isos)


def _actnorm(size: Size) -> ActNorm:
    return ActNorm(size.planes)


def _conv1x1(size: Size) -> InvertibleConv1x1:
    return InvertibleConv1x1(size.planes, size.generator)


def _householder(size: Size, pairs: int | None = None) -> HouseholderConv1x1:
    return HouseholderConv1x1(size.planes, pairs, size.generator)


def _affine_coupling(size: Size, width: int = 4, bound: float = 1e-4) -> AffineCoupling:
    first = size.planes // 2
    if not first:
        raise ModelError("affine_coupling: expected 2 planes or more; got 1: use masked_affine_coupling")
    net = BorderAwareNet(first, 2 * (size.planes - first), width, size.generator)
    return AffineCoupling(net, net.reach, bound)


def _masked_affine_coupling(
    size: Size,
    mask: str = "checkerboard",
    flip: bool = False,
    bound: float = 1.0,
    width: int = 16,
    kernel: int = 3,
    unknown_camera: float = 0.0,
    from_noise: bool = False,
    own_signal: bool = False,
) -> MaskedAffineCoupling:
    net = ConditionalNet(
        size.planes,
        2 * size.planes,
        size.of_signal,
        size.cameras,
        width,
        kernel,
        unknown_camera,
        size.generator,
        from_noise=from_noise,
        own_signal=own_signal,
    )
    return MaskedAffineCoupling(net, _mask(mask, flip), bound)


def _spline_coupling(
    size: Size,
    mask: str = "checkerboard",
    flip: bool = False,
    bins: int = 8,
    box: float = 5.0,
    width: int = 16,
    kernel: int = 3,
    unknown_camera: float = 0.0,
) -> SplineCoupling:
    outputs = spline_outputs(size.planes, bins)
    given = size.planes, outputs, size.of_signal, size.cameras, width, kernel, unknown_camera, size.generator
    return SplineCoupling(ConditionalNet(*given), _mask(mask, flip), bins, box)


def _pixel_spline(
    size: Size,
    bins: int = 8,
    box: float = 5.0,
    odd: bool = False,
    width: int = 16,
    unknown_camera: float = 0.0,
    from_noise: bool = False,
) -> PixelSpline:
    outputs = spline_outputs(size.planes, bins, odd=odd)
    given = 0, outputs, size.of_signal, size.cameras, width, 1, unknown_camera, size.generator
    return PixelSpline(ConditionalNet(*given, from_noise=from_noise), bins, box, odd=odd)


def _autoregressive(
    size: Size,
    width: int = 16,
    above: int = 2,
    beside: int = 2,
    bound: float = 1.0,
    unknown_camera: float = 0.0,
) -> MaskedAutoregressive:
    net = MaskedNet(size.planes, size.cameras, width, above, beside, unknown_camera, size.generator)
    return MaskedAutoregressive(net, bound)


def _inverse(size: Size, layer: Layer) -> Inverse:
    return Inverse(*build_layers([layer], size))


def _reversed(size: Size, layer: Layer) -> Reversed:
    return Reversed(*build_layers([layer], size))


def _split(size: Size, layers: Sequence[Layer]) -> Split:
    inner = replace(size, planes=size.planes - size.planes // 2, signal_planes=size.of_signal)
    return Split(build_layers(layers, inner))


def _squeezed(size: Size, layers: Sequence[Layer]) -> Squeezed:
    return Squeezed(build_layers(layers, replace(size, planes=4 * size.planes, signal_planes=4 * size.of_signal)))


def _mask(name: str, flip: bool) -> masks.Mask:
    kinds = {"channel": masks.channel, "checkerboard": masks.checkerboard, "rows": masks.rows}
    if name not in kinds:
        raise ModelError(f"mask: expected one of {', '.join(kinds)}; got {name!r}")
    return kinds[name](flip)


TRANSFORMS: dict[str, Callable[..., Transform]] = {
    "actnorm": _actnorm,
    "affine_coupling": _affine_coupling,
    "autoregressive": _autoregressive,
    "conv1x1": _conv1x1,
    "column_noise": _column_noise,
    "cubic_tails": _cubic_tails,
    "gain": _gain,
    "householder": _householder,
    "inverse": _inverse,
    "line_noise": _line_noise,
    "masked_affine_coupling": _masked_affine_coupling,
    "neighbour_filter": _neighbour_filter,
    "pixel_spline": _pixel_spline,
    "reversed": _reversed,
    "row_memory": _row_memory,
    "neighbour_rows": _neighbour_rows,
    "row_noise": _row_noise,
    "shot_read_scale": _shot_read_scale,
    "bent_scale": _bent_scale,
    "signal_dependent_scale": _signal_dependent_scale,
    "sinh_arcsinh": _sinh_arcsinh,
    "spline_coupling": _spline_coupling,
    "split": _split,
    "squeezed": _squeezed,
    "telegraph_tails": _telegraph_tails,
}
"""Name → function that builds the layer from a `Size` and the layer's options as keywords."""


def build_layers(layers: Sequence[Layer], size: Size) -> list[Transform]:
    """Build the layers of a list.

    Parameters
    ----------
    layers : sequence of mappings
        In the order data → latent; each has a ``"name"`` of `TRANSFORMS` and the options of that layer.
    size : Size
        Planes, cameras and ISOs of the flow.

    Returns
    -------
    list of Transform
        The layers, in the same order.

    Raises
    ------
    ModelError
        An unknown name or option, a missing option, or an option of the wrong type.

    Examples
    --------
    >>> size = Size(planes=4, cameras=1, isos=(100.0,))
    >>> build_layers([{"name": "gain", "log_gain": 0.5}, {"name": "actnorm"}], size)
    [Gain(), ActNorm()]
    """
    if isinstance(layers, (str, Mapping)) or not isinstance(layers, Sequence):
        raise ModelError(f"layers: expected a list of layers; got {layers!r}")
    return [_built(layer, size) for layer in layers]


def _built(layer: Layer, size: Size) -> Transform:
    if not isinstance(layer, Mapping) or layer.get("name") not in TRANSFORMS:
        raise ModelError(f"layer {layer!r}: expected a name among {', '.join(TRANSFORMS)}")
    make, options = TRANSFORMS[layer["name"]], {key: value for key, value in layer.items() if key != "name"}
    parameters = dict(list(inspect.signature(make).parameters.items())[1:])
    for key, value in options.items():
        if key not in parameters:
            raise ModelError(f"{layer['name']}: option {key!r} is not known; it has {', '.join(parameters) or 'none'}")
        default = parameters[key].default
        if default not in (None, inspect.Parameter.empty) and not _is_like(value, default):
            raise ModelError(f"{layer['name']}: option {key}: expected a value such as {default!r}; got {value!r}")
    missing = [key for key, each in parameters.items() if each.default is each.empty and key not in options]
    if missing:
        raise ModelError(f"{layer['name']}: option {missing[0]!r} is missing")
    return make(size, **options)


def _is_like(value: object, default: object) -> bool:
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is type(default)
