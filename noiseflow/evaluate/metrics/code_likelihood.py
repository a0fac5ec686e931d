"""Likelihood of the integers: what is said of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from noiseflow.evaluate.data_summary import COARSE
from noiseflow.evaluate.likelihood_kind import Kind
from noiseflow.evaluate.metric import DATA, ORACLE, Finding, Record, Score, Standing, TableRow
from noiseflow.evaluate.presentation.figures import Pen, Plate, axes, canvas, legend, plate
from noiseflow.evaluate.presentation.formatting import count, number, percent, plus_minus
from noiseflow.evaluate.statistics.intervals import LEVEL, Estimate

__all__ = ["ORACLE_MARGIN", "CellCodesLikelihood", "CodesLikelihood"]

ORACLE_MARGIN = 0.002
"""Gap to the true probabilities, nats/pixel, that passes as none."""


@dataclass(frozen=True)
class CellCodesLikelihood:
    """NLL of the integers over one camera at one ISO, or over more.

    Parameters
    ----------
    camera, iso
        None where all are meant.
    part : str
        Which intensities, or which plane; empty for all.
    signal_dn : float
        Mean clean signal of these patches, DN above black.
    patches, groups : int
    nats_per_pixel : mapping of str to Estimate
        Of each model; for a plane, of those that give each pixel its own probability.
    behind : mapping of str to Estimate
        That of each other model minus that of the one under test.
    """

    camera: str | None
    iso: float | None
    part: str
    signal_dn: float
    patches: int
    groups: int
    nats_per_pixel: Mapping[str, Estimate]
    behind: Mapping[str, Estimate]


@dataclass(frozen=True)
class CodesLikelihood(Score):
    """Discretised negative log-likelihood.

    Parameters
    ----------
    kinds : mapping of str to str
        What each model's number is: a key of `noiseflow.evaluate.likelihood_kind.KINDS`.
    coarse : bool
        Whether a code is coarse against the noise: see `noiseflow.evaluate.data_summary.COARSE`.
    sigma_dn : float
        Smallest σ of the real noise over the signals of any camera and ISO, DN.
    group_is : str
        What intervals rest on, ``"scene"`` or ``"frame"``.
    cells : tuple of CellCodesLikelihood
        All of the data, then each camera at each ISO if there are several.
    cameras : tuple of CellCodesLikelihood
        Each camera, all its ISOs together, if there are several of both.
    signals : tuple of CellCodesLikelihood
        Patches sorted by their mean signal into bins, from dark to bright.
    planes : tuple of CellCodesLikelihood
        Each plane, if there are several.
    """

    title: ClassVar[str] = "Likelihood of the integers"
    method: ClassVar[str] = (
        "−log probability of the real codes, natural log, nats/pixel in DN: the density integrated from half a code "
        "below to half a code above, from code 0 down and from the white level up without end, as a sensor clips. It "
        "does not depend on how the signal is normalised and is 0 or more. Exact where a model has a distribution "
        "function for each pixel. Else, marked ≤, minus the evidence lower bound (ELBO): an analogue value is drawn "
        "within each code from a normal of the model’s own σ, and the log of density over proposal averaged; the "
        "model’s true NLL is below. On the closely looked at patches. Differences are paired and intervals "
        f"{percent(LEVEL)}, as for the likelihood above. It is spoken of in the verdict where a code is coarse, σ in "
        f"the dark below 2 DN (1/12 DN² above {percent(COARSE)} of the variance): there a continuous density can gain "
        "without end by narrow peaks at the codes; at finer codes the two differ by a constant. At the oracle is said "
        f"within {ORACLE_MARGIN} nats/pixel. A joint density gives one number a patch and no share to a plane: by "
        "plane it is of models that are exact."
    )

    kinds: Mapping[str, Kind]
    coarse: bool
    sigma_dn: float
    group_is: str
    cells: tuple[CellCodesLikelihood, ...]
    cameras: tuple[CellCodesLikelihood, ...]
    signals: tuple[CellCodesLikelihood, ...]
    planes: tuple[CellCodesLikelihood, ...]

    def standing(self) -> Standing:
        """How the model under test stands against the others but the oracle; a bound decides one way only."""
        tested = next(iter(self.kinds), "")
        found = Standing((), (), ())
        for other, difference in self.cells[0].behind.items():
            better = difference.above(0) and self.kinds[other] == "exact"
            worse = difference.below(0) and self.kinds[tested] == "exact"
            if other != ORACLE:
                found = found.add(other, better=better, worse=worse)
        return found

    def findings(self, tested: str) -> Sequence[Finding]:
        """Where codes are coarse: better or worse than each other model; how near to the oracle."""
        if not self.coarse or tested not in self.kinds:
            return []
        return [
            self._gap(tested, -difference) if other == ORACLE else self._against(tested, other, difference)
            for other, difference in self.cells[0].behind.items()
        ]

    def _against(self, tested: str, other: str, difference: Estimate) -> Finding:
        over = f"{percent(LEVEL)} interval over {count(difference.groups, self.group_is)}"
        what = f"Of the integers (σ is {number(self.sigma_dn, 2)} DN in the dark)"
        ours, theirs = (self.kinds[name] == "bound" for name in (tested, other))
        if difference.low is None:
            text = f"{what}, {tested} against {other}: {plus_minus(difference)} nats/pixel, without an interval."
            return Finding("open", "nll_codes", text)
        if difference.above(0):
            by = f"{plus_minus(difference)} nats/pixel"
            if theirs:
                text = f"{what}, {tested} is better by {by} than the bound of {other}, which may itself be better"
                return Finding("open", "nll_codes", f"{text} ({over}).")
            text = f"{what}, {tested} is better than {other} by {'at least ' if ours else ''}{by} ({over})."
            return Finding("good", "nll_codes", text)
        if difference.below(0):
            by = f"{plus_minus(-difference)} nats/pixel"
            if ours:
                text = f"{what}, the bound of {tested} is worse than {other} by {by}; its likelihood may not be"
                return Finding("open", "nll_codes", f"{text} ({over}).")
            text = f"{what}, {tested} is worse than {other} by {'at least ' if theirs else ''}{by} ({over})."
            return Finding("bad", "nll_codes", text)
        text = f"{what}, {tested} and {other} cannot be told apart: {plus_minus(difference)} nats/pixel ({over})."
        return Finding("open", "nll_codes", text)

    def _gap(self, tested: str, gap: Estimate) -> Finding:
        bound = self.kinds[tested] == "bound"
        by = f"{'at most ' if bound else ''}{plus_minus(gap, 5)} nats/pixel"
        if gap.below(ORACLE_MARGIN) and (bound or gap.above(-ORACLE_MARGIN)):
            text = f"Of the integers, {tested} is at the oracle: {by} from the true probabilities."
            return Finding("good", "oracle", text)
        if gap.above(0):
            text = f"Of the integers, {tested} is {by} behind the oracle, the true probabilities."
            return Finding("open" if bound else "bad", "oracle", text)
        if gap.below(0):
            text = f"{tested} scores {plus_minus(-gap, 5)} nats/pixel better than the oracle, which cannot be: "
            return Finding("bad", "oracle", text + "does the oracle’s camera match this data?")
        return Finding("open", "oracle", f"The gap of {tested} to the oracle is not settled: {by}.")

    def table(self) -> Sequence[TableRow]:
        """NLL of the codes, and where they are coarse the differences."""
        if not self.kinds:
            return []
        whole = self.cells[0]
        values = {name: self._value(name, value) for name, value in whole.nats_per_pixel.items()}
        rows = [TableRow("NLL of the codes", "nats/pixel, DN, discretised; ≤: a bound", "lower", {DATA: "", **values})]
        if self.coarse and whole.behind:
            tested = next(name for name in whole.nats_per_pixel if name not in whole.behind)
            behind = {tested: "0", **{name: plus_minus(value) for name, value in whole.behind.items()}}
            what = f"NLL of the codes − that of {tested}"
            rows.append(TableRow(what, "nats/pixel, paired", f"above 0: {tested} is better", behind))
        return rows

    def _value(self, name: str, value: Estimate) -> str:
        return ("≤ " if self.kinds[name] == "bound" else "") + number(value.value, 4)

    def records(self) -> Sequence[Record]:
        """All likelihoods and differences; the measure's name says what is a bound."""
        return [
            Record.of(value, measure, "nats/pixel", model, cell.camera, cell.iso, cell.part)
            for cell in (*self.cells, *self.cameras, *self.signals, *self.planes)
            for name, field in (("nll_codes", "nats_per_pixel"), ("nll_codes_behind", "behind"))
            for model, value in getattr(cell, field).items()
            for measure in [f"{name}_bound" if self._rests_on_a_bound(model, field) else name]
        ]

    def _rests_on_a_bound(self, model: str, field: str) -> bool:
        names = [model] if field == "nats_per_pixel" else [*list(self.kinds)[:1], model]
        return any(self.kinds[name] == "bound" for name in names)

    def plates(self, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """NLL against intensity, and by plane."""
        if not self.kinds:
            return []
        drawn = [self._by_signal(pens)] if len(self.signals) > 1 else []
        return drawn + ([self._by_plane(pens)] if any(plane.nats_per_pixel for plane in self.planes) else [])

    def _by_signal(self, pens: Mapping[str, Pen]) -> Plate:
        with canvas() as figure:
            ax = axes(figure, "mean signal of a patch, DN above black", "NLL of the codes, nats/pixel")
            for name, kind in self.kinds.items():
                pen = pens[name]
                ax.plot(
                    [part.signal_dn for part in self.signals],
                    [part.nats_per_pixel[name].value for part in self.signals],
                    color=pen.colour,
                    marker=pen.marker,
                    linestyle=pen.dash,
                    markersize=4,
                    linewidth=1.2,
                    label=f"{name} (≤)" if kind == "bound" else name,
                )
            legend(figure)
            return plate(
                figure,
                title="Likelihood of the integers by intensity",
                alt="NLL of the codes in nats per pixel against mean signal, one line per model",
                caption="Discretised NLL of the real codes, nats/pixel; lower is better, and no model can be below the "
                "noise’s own entropy. ≤: the model’s true value is lower.",
            )

    def _by_plane(self, pens: Mapping[str, Pen]) -> Plate:
        with canvas(height=2.6) as figure:
            ax = axes(figure, "plane", "NLL of the codes, nats/pixel")
            for name in self.planes[0].nats_per_pixel:
                pen = pens[name]
                ax.errorbar(
                    range(len(self.planes)),
                    [plane.nats_per_pixel[name].value for plane in self.planes],
                    [plane.nats_per_pixel[name].half_width or 0.0 for plane in self.planes],
                    color=pen.colour,
                    marker=pen.marker,
                    linestyle="none",
                    markersize=4.5,
                    capsize=2,
                    label=name,
                )
            ax.set_xticks(range(len(self.planes)), [plane.part.removeprefix("plane ") for plane in self.planes])
            ax.set_xlim(-0.5, len(self.planes) - 0.5)
            legend(figure)
            left_out = [name for name in self.kinds if name not in self.planes[0].nats_per_pixel]
            return plate(
                figure,
                title="Likelihood of the integers by plane",
                alt="NLL of the codes in nats per pixel for each plane, one marker per model",
                caption="Discretised NLL of the real codes in each plane, nats/pixel; planes differ by their signal. "
                f"Bars: {percent(LEVEL)} intervals over {self.group_is}s."
                + (f" A joint density gives no share to a plane: {', '.join(left_out)}." if left_out else ""),
            )
