"""Likelihood of the real noise, and paired differences between models."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from noiseflow.evaluate.data_summary import FEWEST_SCENES, SIGNAL_BINS, signal_bins
from noiseflow.evaluate.likelihood_kind import KINDS
from noiseflow.evaluate.metric import (
    DATA,
    ORACLE,
    Finding,
    Metric,
    Record,
    Score,
    ScoredBatch,
    Setup,
    Standing,
    TableRow,
)
from noiseflow.evaluate.presentation.figures import Pen, Plate, axes, canvas, evenly, legend, plate
from noiseflow.evaluate.presentation.formatting import cell_labels, count, number, percent, plus_minus
from noiseflow.evaluate.statistics.intervals import LEVEL, RESAMPLES, Estimate, bootstrap_ratio

__all__ = ["ORACLE_MARGIN", "CellLikelihood", "Likelihood", "LikelihoodMetric"]

ORACLE_MARGIN = 0.002
"""Gap to the true density, nats/dim, that passes as none."""

MOST_CELLS_DRAWN = 8


@dataclass(frozen=True)
class CellLikelihood:
    """Likelihood over one camera at one ISO, or over more.

    Parameters
    ----------
    camera, iso
        None where all are meant.
    part : str
        Which intensities; empty for all.
    signal_dn : float
        Mean clean signal of these patches, DN above black.
    patches, groups : int
    nats_per_dim : mapping of str to Estimate
        NLL of the normalised noise, per model.
    nats_per_pixel_dn : mapping of str to Estimate
        NLL of the noise in DN.
    behind : mapping of str to Estimate
        NLL of each other model minus that of the one under test, nats/dim (and nats/pixel:
        the unit cancels); above 0 the one under test is better.
    """

    camera: str | None
    iso: float | None
    part: str
    signal_dn: float
    patches: int
    groups: int
    nats_per_dim: Mapping[str, Estimate]
    nats_per_pixel_dn: Mapping[str, Estimate]
    behind: Mapping[str, Estimate]


@dataclass(frozen=True)
class Likelihood(Score):
    """Negative log-likelihood of the real noise.

    Parameters
    ----------
    density : mapping of str to str
        What each model's likelihood is of: see `noiseflow.evaluate.likelihood_kind.KINDS`.
    without_density : mapping of str to str
        Models that only sample, and what they say when asked.
    group_is : str
        What intervals rest on, ``"scene"`` or ``"frame"``.
    group_dims : tuple of float
        Dimensions in each group, for paired differences between reports.
    group_nats : mapping of str to tuple of float
        NLL summed over each group, nats, per model.
    cells : tuple of CellLikelihood
        All of the data, then each camera at each ISO if there are several.
    cameras : tuple of CellLikelihood
        Each camera, all its ISOs together, if there are several of both.
    signals : tuple of CellLikelihood
        Patches sorted by their mean signal into bins, from dark to bright.
    coarse : bool
        Whether a code is coarse against the noise, so that the oracle and the verdict are a matter
        of the likelihood of the integers.
    """

    title: ClassVar[str] = "Likelihood"
    method: ClassVar[str] = (
        "NLL is −log density of the real noise, natural log. It is of a continuous density, the integers taken as "
        "points of it, except where the exact probability of each code is known (the oracle): that is spread over the "
        "code. Nats/dim is of the normalised signal, "
        "(DN − black) / (white − black); nats/pixel in DN adds the mean over planes of log(white − black). Where the "
        "clean signal is an estimate, the noise is first divided by √(1 + v), v its variance as a part of the noise’s. "
        f"Differences are paired on the same pixels. Intervals are {percent(LEVEL)}, by the bootstrap-t over whole "
        f"scenes at one camera and ISO ({RESAMPLES:,} draws; over frames where there are fewer than {FEWEST_SCENES} "
        "scenes; Student’s t where there are fewer than 5). Better or worse is said when the interval excludes "
        f"0; at the oracle, when it lies within {ORACLE_MARGIN} nats/dim. Where a code is coarse against the noise "
        f"the verdict is by the likelihood of the integers, below. By intensity: {SIGNAL_BINS} bins of a "
        "patch’s mean signal, even in its square root. A joint density gives one number a patch and no share to a "
        "plane: planes are told apart in the samples, below."
    )

    density: Mapping[str, str]
    without_density: Mapping[str, str]
    group_is: str
    group_dims: tuple[float, ...]
    group_nats: Mapping[str, tuple[float, ...]]
    cells: tuple[CellLikelihood, ...]
    cameras: tuple[CellLikelihood, ...]
    signals: tuple[CellLikelihood, ...]
    coarse: bool

    def standing(self) -> Standing:
        """How the model under test stands against the others but the oracle."""
        found = Standing((), (), ())
        for other, difference in self.cells[0].behind.items():
            if other != ORACLE:
                found = found.add(other, better=difference.above(0), worse=difference.below(0))
        return found

    def findings(self, tested: str) -> Sequence[Finding]:
        """Better or worse than each other model; how near to the oracle."""
        if tested in self.without_density:
            text = f"{tested} has no density, so no likelihood: it is judged by its samples alone."
            return [Finding("open", "nll", text)]
        if self.coarse:
            # A density at coarse codes proves nothing: the likelihood of the integers speaks.
            return []
        return [
            self._gap(tested, difference) if other == ORACLE else self._against(tested, other, difference)
            for other, difference in self.cells[0].behind.items()
        ]

    def _against(self, tested: str, other: str, difference: Estimate) -> Finding:
        by = f"{plus_minus(difference)} nats/dim"
        if difference.low is None:
            return Finding(
                "open", "nll", f"{tested} against {other}: {by}, from one {self.group_is}, so without an interval."
            )
        frames = f"{percent(LEVEL)} interval over {count(difference.groups, self.group_is)}"
        if difference.above(0):
            return Finding("good", "nll", f"{tested} is better than {other} by {by} ({frames}).")
        if difference.below(0):
            return Finding(
                "bad", "nll", f"{tested} is worse than {other} by {plus_minus(-difference)} nats/dim ({frames})."
            )
        return Finding("open", "nll", f"{tested} and {other} cannot be told apart by likelihood: {by} ({frames}).")

    def _gap(self, tested: str, difference: Estimate) -> Finding:
        gap = -difference
        by = f"{plus_minus(gap, 5)} nats/dim"
        if gap.below(ORACLE_MARGIN) and gap.above(-ORACLE_MARGIN):
            return Finding("good", "oracle", f"{tested} is at the oracle: {by} from the true density.")
        if gap.above(0):
            small = f"; not surely within {ORACLE_MARGIN}, which would be none to speak of"
            return Finding("bad", "oracle", f"{tested} is {by} behind the oracle, the true density{small}.")
        if gap.below(0):
            text = f"{tested} scores {plus_minus(difference, 5)} nats/dim better than the oracle, which cannot be: "
            return Finding("bad", "oracle", text + "does the oracle’s camera match this data?")
        return Finding("open", "oracle", f"The gap of {tested} to the oracle is not settled: {by}.")

    def table(self) -> Sequence[TableRow]:
        """NLL in both units, and the differences."""
        whole = self.cells[0]
        tested = next((name for name in whole.nats_per_dim if name not in whole.behind), "")
        rows = [
            TableRow("NLL", "nats/dim, normalised", "lower", _each(whole.nats_per_dim)),
            TableRow("NLL", "nats/pixel, DN", "lower", _each(whole.nats_per_pixel_dn)),
        ]
        if whole.behind:
            behind = {tested: "0", **{name: plus_minus(value) for name, value in whole.behind.items()}}
            rows.append(TableRow(f"NLL − that of {tested}", "nats/dim, paired", f"above 0: {tested} is better", behind))
        return rows

    def records(self) -> Sequence[Record]:
        """All likelihoods and differences."""
        kinds = (
            ("nll", "nats/dim", "nats_per_dim"),
            ("nll_dn", "nats/pixel", "nats_per_pixel_dn"),
            ("nll_behind", "nats/dim", "behind"),
        )
        return [
            Record.of(value, measure, unit, model, cell.camera, cell.iso, cell.part)
            for cell in (*self.cells, *self.cameras, *self.signals)
            for measure, unit, name in kinds
            for model, value in getattr(cell, name).items()
        ]

    def plates(self, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """NLL against ISO, and the paired differences."""
        if not self.density:
            return []
        drawn = [self._against_iso(camera, pens) for camera in self._cameras_of_several_isos()]
        if self.cells[0].behind:
            drawn.append(self._differences(pens))
            drawn += [self._by_signal(pens)] if len(self.signals) > 1 else []
        return drawn

    def _cameras_of_several_isos(self) -> list[str]:
        cameras = [cell.camera for cell in self.cells if cell.camera is not None]
        return [camera for camera in dict.fromkeys(cameras) if cameras.count(camera) > 1][:4]

    def _against_iso(self, camera: str, pens: Mapping[str, Pen]) -> Plate:
        cells = [cell for cell in self.cells if cell.camera == camera]
        isos = [cell.iso for cell in cells if cell.iso is not None]
        with canvas() as figure:
            ax = axes(figure, "ISO", "NLL, nats/pixel in DN")
            for name in cells[0].nats_per_pixel_dn:
                values = [cell.nats_per_pixel_dn[name] for cell in cells]
                pen = pens[name]
                ax.errorbar(
                    isos,
                    [value.value for value in values],
                    # Of two or three scenes a bar would only say that nothing is known, and hide the rest.
                    [(value.half_width or 0.0) if value.groups > 3 else 0.0 for value in values],
                    color=pen.colour,
                    marker=pen.marker,
                    linestyle=pen.dash,
                    markersize=4,
                    linewidth=1.3,
                    label=name,
                )
            ax.set_xscale("log", base=2)
            ax.set_xticks(isos, [f"{iso:g}" for iso in isos], rotation=45 if len(isos) > 6 else 0)
            ax.minorticks_off()
            legend(figure)
            return plate(
                figure,
                title=f"NLL by ISO, {camera}",
                alt=f"NLL in nats per pixel in DN against ISO for {camera}, one line per model",
                caption="NLL of the held-out noise in DN at each ISO; lower is better. It rises with the gain, since "
                f"noise spreads over more codes. Bars: {percent(LEVEL)}, if over more than 3 {self.group_is}s.",
            )

    def _by_signal(self, pens: Mapping[str, Pen]) -> Plate:
        values = [value.value for part in self.signals for value in part.behind.values()]
        with canvas() as figure:
            ax = axes(figure, "mean signal of a patch, DN above black", "difference in NLL, nats/dim")
            ax.axhline(0, color="#57606a", linewidth=0.8)
            for name in self.signals[0].behind:
                pen = pens[name]
                ax.errorbar(
                    [part.signal_dn for part in self.signals],
                    [part.behind[name].value for part in self.signals],
                    [part.behind[name].half_width or 0.0 for part in self.signals],
                    color=pen.colour,
                    marker=pen.marker,
                    linestyle=pen.dash,
                    markersize=4,
                    linewidth=1.2,
                    capsize=2,
                    label=name,
                )
            if max(map(abs, values)) > 0.1:
                ax.set_yscale("symlog", linthresh=0.01, linscale=0.7)
            legend(figure)
            return plate(
                figure,
                title="Likelihood by intensity",
                alt="Difference in NLL of each other model to the model under test against mean signal",
                caption="Paired difference in NLL, nats/dim, of patches sorted by their mean signal. Above 0 the model "
                f"under test is better. Bars: {percent(LEVEL)} intervals over {self.group_is}s.",
            )

    def _differences(self, pens: Mapping[str, Pen]) -> Plate:
        shown = [self.cells[index] for index in evenly(range(len(self.cells)), MOST_CELLS_DRAWN)]
        names = cell_labels([(cell.camera, cell.iso) for cell in shown]) if len(shown) > 1 else ["all"]
        others = list(shown[0].behind)
        largest = max(abs(value.value) for cell in shown for value in cell.behind.values())
        with canvas(height=1.4 + 0.2 * len(shown) * len(others)) as figure:
            ax = axes(figure, "difference in NLL, nats/dim", "")
            for place, cell in enumerate(shown):
                for index, name in enumerate(others):
                    value, pen = cell.behind[name], pens[name]
                    ax.errorbar(
                        value.value,
                        place + 0.7 * ((index + 0.5) / len(others) - 0.5),
                        xerr=value.half_width,
                        color=pen.colour,
                        marker=pen.marker,
                        linestyle="none",
                        markersize=4.5,
                        capsize=2,
                        label=name if place == 0 else None,
                    )
            ax.axvline(0, color="#57606a", linewidth=1)
            if largest > 0.1:
                # From thousandths against a near model to whole nats against a far one.
                ax.set_xscale("symlog", linthresh=0.01, linscale=0.7)
                ends = [end for cell in shown for value in cell.behind.values() for end in (value.low, value.high)]
                known = [end for end in ends if end is not None]
                ax.set_xlim(2 * min([-0.005, *known]), 2 * max([0.005, *known]))
                ticks = _decades(ax.get_xlim())
                ax.set_xticks(ticks, [number(tick, 2 if abs(tick) < 0.1 else 1) for tick in ticks])
                ax.minorticks_off()
            ax.set_yticks(range(len(shown)), names)
            ax.set_ylim(len(shown) - 0.4, -0.6)
            ax.grid(False, axis="y")
            legend(figure)
            left_out = len(self.cells) - len(shown)
            return plate(
                figure,
                title="Likelihood against the model under test",
                alt="Difference in NLL of each other model to the model under test, with intervals",
                caption="Paired difference in NLL, nats/dim. Right of 0 the model under test is better; a bar that "
                f"crosses 0 decides nothing. Bars: {percent(LEVEL)} intervals over {self.group_is}s."
                + (f" {left_out} more in metrics.csv." if left_out else ""),
            )


class LikelihoodMetric(Metric):
    """Sums of NLL per intensity bin, group and model."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        shape = (SIGNAL_BINS, setup.survey.groups)
        self.models = [name for name in setup.models if name in setup.densities]
        self.nll = {name: np.zeros(shape) for name in self.models}
        self.dims, self.log_scale, self.patches, self.signal = (np.zeros(shape) for _ in range(4))
        self.bin = signal_bins(setup.survey)

    def update(self, batch: ScoredBatch) -> None:
        """Add a batch."""
        dims = math.prod(batch.clean.shape[1:])
        place = (self.bin[batch.number], batch.group)
        np.add.at(self.patches, place, 1)
        np.add.at(self.dims, place, dims)
        np.add.at(self.log_scale, place, dims * np.log(batch.scale_dn).mean(1))
        np.add.at(self.signal, place, self.setup.survey.brightness[batch.number] * batch.scale_dn.mean(1))
        for name, nll in batch.nll.items():
            np.add.at(self.nll[name], place, nll)

    def score(self) -> Likelihood:
        """NLL and differences over all, per camera and ISO, per camera, and per intensity."""
        survey = self.setup.survey
        every, bins = np.ones(survey.groups, np.bool_), np.ones(SIGNAL_BINS, np.bool_)
        return Likelihood(
            density={name: KINDS[kind] for name, kind in self.setup.densities.items()},
            without_density=self.setup.without_density,
            group_is=survey.group_is,
            group_dims=tuple(self.dims.sum(0).tolist()),
            group_nats={name: tuple(nll.sum(0).tolist()) for name, nll in self.nll.items()},
            cells=tuple(self._cell(cell.camera, cell.iso, "", bins, groups) for cell, groups in survey.scopes()),
            cameras=tuple(self._cell(camera, None, "all ISOs", bins, groups) for camera, groups in survey.by_camera()),
            signals=tuple(
                self._cell(None, None, f"intensity {bin_}", np.arange(SIGNAL_BINS) == bin_, every)
                for bin_ in np.flatnonzero(self.patches.sum(1))
            ),
            coarse=survey.coarse,
        )

    def _cell(
        self, camera: str | None, iso: float | None, part: str, bins: NDArray[np.bool_], groups: NDArray[np.bool_]
    ) -> CellLikelihood:
        def of(sums: NDArray[np.float64]) -> NDArray[np.float64]:
            chosen: NDArray[np.float64] = sums[bins][:, groups].sum(0)
            return chosen

        dims, log_scale, patches = of(self.dims), of(self.log_scale), of(self.patches)
        nll = {name: of(sums) for name, sums in self.nll.items()}

        def mean(sums: NDArray[np.float64]) -> Estimate:
            return bootstrap_ratio(numerator=sums, denominator=dims, level=LEVEL)

        tested = self.setup.models[0]
        return CellLikelihood(
            camera=camera,
            iso=iso,
            part=part,
            signal_dn=float(of(self.signal).sum() / patches.sum()),
            patches=int(patches.sum()),
            groups=int((patches > 0).sum()),
            nats_per_dim={name: mean(sums) for name, sums in nll.items()},
            nats_per_pixel_dn={name: mean(sums + log_scale) for name, sums in nll.items()},
            behind={name: mean(nll[name] - nll[tested]) for name in self.models if name != tested and tested in nll},
        )


def _each(values: Mapping[str, Estimate]) -> dict[str, str]:
    # Without ±: what tells models apart is the paired difference, not the spread of levels between frames.
    return {DATA: "", **{name: number(value.value, 4) for name, value in values.items()}}


def _decades(limits: tuple[float, float]) -> list[float]:
    steps = [0.01 * 10.0**power for power in range(6)]
    ticks = [-step for step in reversed(steps)] + [0.0] + steps
    return [tick for tick in ticks if limits[0] <= tick <= limits[1]]
