"""The default model: the physics of a camera, and a small flow on the residual."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from noiseflow.flows.camera.bent_scale import BentScale
from noiseflow.flows.camera.column_noise import ColumnNoise
from noiseflow.flows.camera.cubic_tails import CubicTails
from noiseflow.flows.camera.line_noise import LineNoise
from noiseflow.flows.camera.neighbour_filter import NeighbourFilter
from noiseflow.flows.camera.neighbour_rows import NeighbourRows
from noiseflow.flows.camera.row_memory import RowMemory
from noiseflow.flows.camera.row_noise import NO_FLICKER, RowNoise
from noiseflow.flows.camera.shot_read_scale import NoiseScale, ShotReadScale
from noiseflow.flows.camera.sinh_arcsinh import SinhArcsinh
from noiseflow.flows.camera.telegraph_tails import TelegraphTails
from noiseflow.flows.conditions import Resolved
from noiseflow.flows.coupling import masks
from noiseflow.flows.coupling.masked_affine import MaskedAffineCoupling
from noiseflow.flows.coupling.spline import PixelSpline, spline_outputs
from noiseflow.flows.flow import Flow
from noiseflow.flows.iso_table import conversion_steps
from noiseflow.flows.linear.householder import HouseholderConv1x1
from noiseflow.flows.nets.conditional_net import ConditionalNet
from noiseflow.flows.signal_model import NoiseParameters
from noiseflow.flows.transform import Transform
from noiseflow.models.adc_levels import Levels
from noiseflow.models.flow.components import COMPONENTS, MOST, Seen, Sizes, choose
from noiseflow.models.flow.flow_model import RESIDUAL_OPTIONS, ResidualFlow, count_option, flag_option
from noiseflow.models.flow.single_values import SingleValues
from noiseflow.models.flow.starts.bend import choose_bend
from noiseflow.models.flow.starts.codes import (
    hold_offsets,
    keep_offsets,
    offsets_in_codes,
    seen_in_codes,
    start_read_noise_of_few_electrons,
    start_read_noise_on_codes,
    start_tails_on_codes,
)
from noiseflow.models.flow.starts.neighbours import rows_among_neighbours
from noiseflow.models.flow.starts.planes import start_planes
from noiseflow.models.flow.starts.rows import (
    choose_rows,
    even_signal,
    hides_read_noise,
    less_offsets,
    start_lines,
)
from noiseflow.models.flow.starts.strong_lines import start_within_lines
from noiseflow.models.flow.starts.telegraph import choose_tails
from noiseflow.models.model import ModelSpec, checked_conditions, register
from noiseflow.models.noise_statistics import NoiseStatistics

__all__ = ["DEFAULTS", "FOUND", "PhysicsFlow"]

DEFAULTS: Mapping[str, Any] = {"couplings": 0, "width": 8, "bins": 8, "odd_spline": True}
"""Default options; ``docs/physics-flow.md`` shows the effect of larger sizes."""

DEFAULTS_OF_OLD: Mapping[str, Any] = {"couplings": 4, "width": 16, "bins": 8, "odd_spline": False}
"""Default options of earlier versions."""

FOUND = ("row_flicker", "row_memory", "column_noise", "neighbours", "neighbour_rows", "bend", "telegraph")
"""Options that a fit sets from the data."""

ROW_OPTIONS = ("row_flicker", "row_memory", "neighbour_rows")

OPTIONS = ("couplings", "bins", "odd_spline", *FOUND, *RESIDUAL_OPTIONS)

STRONG = 1.0
"""Ratio of line to read-noise variance above which the read noise is estimated within lines."""


@register("physics_flow", OPTIONS, DEFAULTS_OF_OLD)
class PhysicsFlow(SingleValues, ResidualFlow):
    """Shot and read noise, row noise, skew and tails, then a residual flow that starts as the identity.

    Data → latent: `ShotReadScale`; `LineNoise`, with its variance in units of the read-noise variance;
    `SinhArcsinh`, with the skewness of a Poisson count; `CubicTails` on the read noise's share; a `PixelSpline`
    conditioned on light, ISO and camera; and optional masked affine couplings, for noise correlated between
    neighbouring pixels or planes.

    The spline is odd, so that it does not shift the mean of the noise.  A mean of a thousandth of σ is invisible in
    a pixel, but sampling rows of w pixels makes it √(1 + r·w) times as large, with the same sign in all of them.

    Options of the spec, with their defaults:

    - ``couplings`` (0), ``width`` of the nets (8), ``bins`` of the spline (8) and ``odd_spline`` (true).  These
      defaults are written into the model's spec, so that a run keeps them.
    - ``unknown_camera``, the probability in training that the camera is hidden from a net (0), and ``seed`` (0).

    The following are set by a fit if the data show the component; false in the spec leaves it out (but
    ``neighbour_rows``, which follows ``neighbours``):

    - ``row_flicker``: rows follow the light (`RowNoise`).
    - ``row_memory``: rows are correlated with the rows above (`RowMemory`).
    - ``column_noise``: `ColumnNoise`; a frame is then sampled in two passes.
    - ``neighbours``: ``"mosaic"`` or ``"plane"``, the grid on which neighbours are correlated (`NeighbourFilter`).
    - ``neighbour_rows``: row noise together with such neighbours (`NeighbourRows`).
    - ``bend``: the response is not linear (`BentScale`).
    - ``telegraph``: some pixels jump (`TelegraphTails` instead of `CubicTails`).
    """

    # Strips of even height keep the masks of couplings in place.
    period = 2
    shares_features = True

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(replace(spec, options={**DEFAULTS, **spec.options}))
        self.found: list[str] = []
        self.seen: tuple[Tensor, Tensor] | None = None

    def head_of(self, spec: ModelSpec) -> ShotReadScale:
        """The head: `BentScale` with the option ``bend``, else `ShotReadScale`."""
        if not flag_option(spec, "bend"):
            return super().head_of(spec)
        return BentScale(spec.planes, len(spec.cameras), spec.isos, shares_features=self.shares_features)

    def residual(self, head: ShotReadScale, spec: ModelSpec, generator: torch.Generator) -> Sequence[Transform]:
        """Row noise, skew and tails with the head's noise parameters, a spline, and couplings."""
        options = spec.options
        planes, cameras = spec.planes, len(spec.cameras)
        couplings, width = count_option(spec, "couplings", 0, 0), count_option(spec, "width", 0)
        bins, odd = count_option(spec, "bins", 0), flag_option(spec, "odd_spline")
        dropout = float(options.get("unknown_camera", 0.0))

        transforms: list[Transform] = []
        if flag_option(spec, "neighbour_rows"):
            transforms.append(NeighbourRows(planes, cameras, spec.isos))
        elif flag_option(spec, "row_memory"):
            transforms.append(RowMemory(planes, cameras, spec.isos))
        elif flag_option(spec, "row_flicker"):
            transforms.append(RowNoise(planes, cameras, spec.isos))
        else:
            transforms.append(LineNoise(planes, cameras, spec.isos, in_read_noise=True))
        if flag_option(spec, "column_noise"):
            transforms.append(ColumnNoise(planes, cameras, spec.isos))
        if (grid := options.get("neighbours", False)) is not False:
            transforms.append(NeighbourFilter(planes, cameras, spec.isos, grid))
        transforms.append(SinhArcsinh(cameras, spec.isos))
        jumps = flag_option(spec, "telegraph")
        tails = TelegraphTails(cameras, spec.isos) if jumps else CubicTails(cameras, spec.isos, by_read_share=True)
        transforms.append(tails)
        outputs = spline_outputs(planes, bins, odd=odd)
        net = ConditionalNet(0, outputs, planes, cameras, width, 1, dropout, generator, from_noise=True)
        transforms.append(PixelSpline(net, bins, odd=odd))
        kinds = (masks.channel, masks.checkerboard) if planes > 1 else (masks.checkerboard, masks.rows)
        for index in range(couplings):
            if planes > 1 and index == 2:
                transforms.append(HouseholderConv1x1(planes, generator=generator))
            net = ConditionalNet(
                planes, 2 * planes, planes, cameras, width, 3, dropout, generator, from_noise=True, own_signal=True
            )
            transforms.append(MaskedAffineCoupling(net, kinds[index // 2 % 2](index % 2 == 1)))
        return transforms

    def start_from(self, statistics: NoiseStatistics) -> None:
        """Initialise the head as the maximum-likelihood noise level function; no component has been tried yet."""
        self.found = []
        if isinstance(self.shot_read, BentScale):
            torch.nn.init.zeros_(self.shot_read.bend)
        super().start_from(statistics)

    @torch.no_grad()
    def start_from_patches(self, noise: Tensor, cond: Resolved, bands: Tensor | None = None) -> None:
        """Initialise planes, row noise, tails and the components that the data show, from training patches.

        Parameters
        ----------
        noise : Tensor, shape (B, C, H, W)
            Normalised noise.
        cond : Resolved
            Clean signal, ISO and camera of the noise.
        bands : Tensor of int, shape (B,) or (B, 2), optional
            Equal for patches on the same sensor rows.  Row noise found with it is kept fixed in training: whole
            sensor rows determine it better than the likelihood of patches.  Components are looked for only with it.
        """
        cond = checked_conditions(self, cond)
        self.found = []
        if cond.observed is not None:
            noise = noise.masked_fill(~cond.observed, 0.0)
        if self.planes > 1:
            start_planes(self.shot_read, noise, cond)
        bend = "" if bands is None else self._start_bend(noise, cond, bands)
        head = self.shot_read
        lines = [self._start_rows(each, noise, cond, bands) for each in self._lines]
        for each in lines:
            if isinstance(each, ColumnNoise):
                each.follow(lines[0])
            each.requires_grad_(bands is None or not (each.whole_rows or each.whole_frame))
        if lines and isinstance(lines[0], RowNoise):
            self._subtract_light(lines[0], noise, cond)
        if lines and bands is not None and hides_read_noise(lines[0], STRONG):
            start_within_lines(head, lines, noise, cond, self.planes)
        if bands is not None:
            self._start_components(lines, noise, cond)
            self._start_rows_again(noise, cond, bands)
            self.found.append(bend)
            self.found += [
                f"conversion gain switched between ISO {below:g} and {above:g}: read noise {factor:.2f} of that below"
                for _, below, above, factor in conversion_steps(self._read_variances())
            ]
        parameters = head.noise_parameters(cond)
        x, _ = head(noise, cond, parameters)
        for before in self._before_shape():
            x, _ = before(x, cond, parameters)
        self._start_tails(x, cond, parameters, tries=bands is not None)

    def _start_tails(self, x: Tensor, cond: Resolved, noise: NoiseParameters, *, tries: bool) -> None:
        """Initialise the tails; if a cubic is not enough, telegraph pixels replace it in model and spec."""
        tails, wanted = self.tails, self.spec.options.get("telegraph")
        cubic = tails
        if not isinstance(cubic, CubicTails):
            cubic = CubicTails(len(self.cameras), self.spec.isos, by_read_share=True).to(x)
        cubic.start_from(x, cond, noise)
        if cubic is tails and (not tries or wanted is not None or self.spec.before_rounding):
            return
        some = torch.arange(0, len(x), -(-len(x) // MOST))
        observed = None if cond.observed is None else cond.observed[some]
        cond = Resolved(cond.clean[some], cond.iso[some], cond.camera[some], observed)
        noise, x = self.shot_read.noise_parameters(cond), x[some]
        with_excess = cubic.shared_features(cond, noise) or noise
        skew = next(transform for transform in self.flow.transforms if isinstance(transform, SinhArcsinh))
        if cubic is tails and not cubic.leaves_tails(skew(x, cond, with_excess)[0], cond, with_excess):
            return
        found = choose_tails(cubic, skew, x, cond, noise, always=cubic is not tails)
        place = [transform is tails for transform in self.flow.transforms].index(True)
        self.flow.transforms[place] = found.tails
        if found.note:
            self.found.append(found.note)
            self.spec = replace(self.spec, options={**self.spec.options, "telegraph": True})

    def _start_bend(self, noise: Tensor, cond: Resolved, bands: Tensor) -> str:
        """Fit the bend of the response if the data show one or the spec requires it; return the finding in words."""
        if self.spec.options.get("bend") is False:
            return "non-linear response: left out"
        found = choose_bend(self.shot_read, noise, cond, bands, planes=self.planes)
        if isinstance(found.head, BentScale):
            self.flow.transforms[0] = found.head
            self.spec = replace(self.spec, options={**self.spec.options, "bend": True})
            if self.planes > 1:
                start_planes(found.head, noise, cond)
        return found.note

    def _start_rows(self, lines: LineNoise, noise: Tensor, cond: Resolved, bands: Tensor | None) -> LineNoise:
        """Initialise line noise; row noise that is found to be more than an offset replaces it in model and spec."""
        if not lines.whole_rows and not lines.whole_frame:
            start_lines(self.shot_read, lines, noise, cond, bands)
            return lines
        without = self._left_out()
        found = choose_rows(self.shot_read, lines, noise, cond, bands, planes=self.planes, left_out=without)
        place = [transform is lines for transform in self.flow.transforms].index(True)
        self.flow.transforms[place] = found.rows
        self.spec = replace(self.spec, options={**self.spec.options, **found.options})
        self.found.extend(found.notes)
        return found.rows

    def _subtract_light(self, rows: RowNoise, noise: Tensor, cond: Resolved) -> None:
        """Fit shot and read noise of the planes again, without the variance of light changes common to rows."""
        light = rows.light_variance()
        if not bool((light > 2 * NO_FLICKER).any()):
            return
        offsets = rows.offset_variance().log1p()
        self.shot_read.log_beta2.add_(offsets)
        start_planes(self.shot_read, noise, cond, light)
        self.shot_read.log_beta2.sub_(offsets)

    def _start_components(self, lines: list[LineNoise], noise: Tensor, cond: Resolved) -> None:
        """Try the components that the spec does not name, and insert those that are kept after the rows."""
        some = torch.arange(0, len(noise), -(-len(noise) // MOST))
        observed = None if cond.observed is None else cond.observed[some]
        even = even_signal(Resolved(cond.clean[some], cond.iso[some], cond.camera[some], observed))
        x, parameters = self._whitened(noise[some], even)
        sizes = Sizes(self.planes, len(self.cameras), self.spec.isos)
        for name, component in COMPONENTS.items():
            if component.option in self.spec.options:
                continue
            kept = choose(name, sizes, Seen(x, even, parameters, lines[0]))
            self.found.append(kept.note)
            if kept.transform is None:
                continue
            x, _ = kept.transform(x, even, parameters)
            self.flow.transforms.insert(1 + len(self._before_shape()), kept.transform)
            self.spec = replace(self.spec, options={**self.spec.options, kept.option: kept.value})
            if isinstance(kept.transform, LineNoise):
                columns, head = kept.transform, self.shot_read
                self._leave(less_offsets(head.log_beta2, columns.offset_variance()), [*lines, columns])
                if bool((columns.offset_variance() > STRONG).any()):
                    start_within_lines(head, [*lines, columns], noise, cond, self.planes)
                    x, parameters = self._whitened(noise[some], even)

    def _whitened(self, noise: Tensor, even: Resolved) -> tuple[Tensor, NoiseParameters]:
        """What patches are behind lines and neighbours, which start here where the spec names them."""
        parameters = self.shot_read.noise_parameters(even)
        x, _ = self.shot_read(noise, even, parameters)
        for before in self._before_shape():
            if isinstance(before, NeighbourFilter):
                before.start_from(x, even)
            x, _ = before(x, even, parameters)
        return x, parameters

    def _leave(self, log_beta2: Tensor, lines: list[Any]) -> None:
        """Set the read variance; offsets stay as they are in DN."""
        for line in lines:
            line.scale_offsets(self.shot_read.log_beta2 - log_beta2)
        self.shot_read.log_beta2.copy_(log_beta2)

    def _left_out(self) -> list[str]:
        return [name for name in ROW_OPTIONS if self.spec.options.get(name) is False]

    def _start_rows_again(self, noise: Tensor, cond: Resolved, bands: Tensor) -> None:
        """If correlated neighbours were found, replace the row noise by one that accounts for their filter."""
        lines: list[Any] = [transform for transform in self.flow.transforms if isinstance(transform, LineNoise)]
        neighbours = [transform for transform in self.flow.transforms if isinstance(transform, NeighbourFilter)]
        if not neighbours or not lines:
            return
        rows, head = lines[0], self.shot_read
        without = self._left_out()
        found = rows_among_neighbours(
            head, rows, neighbours[0], noise, cond, bands, planes=self.planes, left_out=without
        )
        place = [transform is rows for transform in self.flow.transforms].index(True)
        self.flow.transforms[place] = found.rows.requires_grad_(False)
        others = {key: value for key, value in self.spec.options.items() if key not in ROW_OPTIONS or value is False}
        self.spec = replace(self.spec, options={**others, **found.options})
        self.found[:1] = found.notes
        for line in lines[1:]:
            if isinstance(line, ColumnNoise):
                line.log_variance.sub_(neighbours[0].spectrum_of_columns().log().to(line.log_variance))
        offsets, others = found.rows.offset_variance(), rows.offset_variance()
        # Beside strong rows the read noise was found within them, and is not what they leave.
        left = torch.where(others > STRONG, head.log_beta2, less_offsets(head.log_beta2, offsets - others))
        self._leave(left, [found.rows, *lines[1:]])

    def _before_shape(self) -> list[Transform]:
        """The transforms between the head and the skew: lines and neighbours, in the order data → latent."""
        chain: list[Any] = list(self.flow.transforms)
        end = next(place for place, transform in enumerate(chain) if isinstance(transform, SinhArcsinh))
        return chain[1:end]

    @torch.no_grad()
    def start_from_codes(self, codes: Tensor, cond: Resolved, levels: Levels) -> None:
        """Fit shot noise, read noise and tails to the integer codes, and subtract line noise from the read noise."""
        before = self.shot_read.log_beta2.clone()
        if isinstance(self.shot_read, BentScale):
            start_read_noise_on_codes(self.shot_read, self.spec, codes, checked_conditions(self, cond), levels)
        else:
            super().start_from_codes(codes, cond, levels)
            start_read_noise_of_few_electrons(self.shot_read, self.spec, codes, checked_conditions(self, cond), levels)
        apart = [transform for transform in self.flow.transforms if isinstance(transform, (NoiseScale, SinhArcsinh))]
        if isinstance(self.tails, CubicTails):
            start_tails_on_codes(Flow([*apart, self.tails]), self.tails, codes, checked_conditions(self, cond), levels)
        lines = self._lines
        passed = offsets_in_codes(self.shot_read, codes, checked_conditions(self, cond), levels)
        keep_offsets(self.shot_read, lines, before - passed.log())
        self.seen = seen_in_codes(self.shot_read, lines, codes, checked_conditions(self, cond), levels)

    def end_on_codes(self, codes: Tensor, cond: Resolved, levels: Levels) -> None:
        """Hold line noise that was not trained at its strength in the codes, as rounding passes it at the trained σ."""
        if self.seen is None or self.trains_dependence:
            return
        lines = self._lines
        hold_offsets(self.shot_read, lines, self.seen, codes, checked_conditions(self, cond), levels)

    @property
    def _lines(self) -> list[LineNoise]:
        return [transform for transform in self.flow.transforms if isinstance(transform, LineNoise)]

    @property
    def tails(self) -> CubicTails | TelegraphTails:
        """Tails of the read noise; a property, because a second attribute would save their weights twice."""
        return next(each for each in self.flow.transforms if isinstance(each, (CubicTails, TelegraphTails)))
