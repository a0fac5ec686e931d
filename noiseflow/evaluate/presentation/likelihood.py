"""Sentences and figures of the likelihoods, as a density and of the integer codes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from noiseflow.core.text import counted
from noiseflow.evaluate.data_summary import COARSE, FEWEST_SCENES, SIGNAL_BINS
from noiseflow.evaluate.metric import DATA, ORACLE, Kind
from noiseflow.evaluate.metrics.likelihood import (
    CodeLikelihood,
    DensityLikelihood,
    DensityLikelihoodCell,
    LikelihoodScore,
)
from noiseflow.evaluate.presentation.figures import (
    GREY,
    Pen,
    Plate,
    across,
    axes,
    bars,
    canvas,
    evenly,
    legend,
    names_down,
    plate,
)
from noiseflow.evaluate.presentation.formatting import cell_labels, number, percent, plus_minus
from noiseflow.evaluate.presentation.presenter import Finding, Presenter, Record, TableRow
from noiseflow.evaluate.statistics.intervals import LEVEL, RESAMPLES, Interval

__all__ = ["CodeLikelihoodPresenter", "DensityLikelihoodPresenter", "Standing", "standing"]

ORACLE_MARGIN = 0.002
"""Largest negligible gap to the true density, nats/dim or nats/pixel."""

MOST_CELLS_DRAWN = 8
"""Largest number of cells in a figure."""


@dataclass(frozen=True)
class Standing:
    """Models that the one under test is better than, indistinguishable from, and worse than, by a likelihood."""

    better: tuple[str, ...]
    equal: tuple[str, ...]
    worse: tuple[str, ...]


@dataclass(frozen=True)
class Unit:
    """Words for the sentences about one kind of likelihood.

    Parameters
    ----------
    measure : str
        Measure of the findings.
    unit : str
        Unit of differences.
    of : str
        Beginning of each sentence.
    truth : str
        Description of the oracle.
    """

    measure: str
    unit: str
    of: str
    truth: str


def standing(score: LikelihoodScore) -> Standing:
    """Compare the model under test with all others except the oracle; a bound can only prove one direction."""
    kinds, differences = _kinds(score), _whole(score).behind
    tested = next(iter(kinds), "")
    better = [name for name, each in differences.items() if each.above(0) and kinds[name] != "bound"]
    worse = [name for name, each in differences.items() if each.below(0) and kinds[tested] != "bound"]
    equal = [name for name in differences if name not in (*better, *worse)]
    return Standing(*(tuple(name for name in names if name != ORACLE) for names in (better, equal, worse)))


def _kinds(score: LikelihoodScore) -> Mapping[str, Kind]:
    if isinstance(score, CodeLikelihood):
        return score.kinds
    assert isinstance(score, DensityLikelihood)
    return dict.fromkeys(score.density, "continuous")


def _whole(score: LikelihoodScore) -> Any:
    assert isinstance(score, (DensityLikelihood, CodeLikelihood))
    return score.cells[0]


def _comparisons(score: LikelihoodScore, tested: str, unit: Unit) -> list[Finding]:
    """Return whether the model under test is better or worse than each other, and its gap to the oracle."""
    kinds = _kinds(score)
    found = []
    for other, difference in _whole(score).behind.items():
        if other == ORACLE:
            found.append(_gap(unit, tested, -difference, kinds[tested] == "bound"))
        else:
            bounds = kinds[tested] == "bound", kinds[other] == "bound"
            found.append(Finding(*_against(unit, tested, other, difference, bounds, score.group_is)))
    return found


def _against(
    unit: Unit, tested: str, other: str, difference: Interval, bounds: tuple[bool, bool], group_is: str
) -> tuple[Literal["good", "bad", "open"], str, str]:
    measure, over = unit.measure, f"{percent(LEVEL)} interval over {counted(difference.groups, group_is)}"
    gain, loss = (f"{plus_minus(each)} {unit.unit}" for each in (difference, -difference))
    ours, theirs = bounds
    if difference.low is None:
        return "open", measure, f"{unit.of}{tested} against {other}: {gain}, without interval: only one {group_is}."
    if difference.above(0) and theirs:
        text = f"{unit.of}{tested} is better by {gain} than the bound of {other}, whose true value may be better"
        return "open", measure, f"{text} ({over})."
    if difference.above(0):
        least = "at least " if ours else ""
        return "good", measure, f"{unit.of}{tested} is better than {other} by {least}{gain} ({over})."
    if difference.below(0) and ours:
        text = f"{unit.of}the bound of {tested} is worse than {other} by {loss}, but its true likelihood may not be"
        return "open", measure, f"{text} ({over})."
    if difference.below(0):
        least = "at least " if theirs else ""
        return "bad", measure, f"{unit.of}{tested} is worse than {other} by {least}{loss} ({over})."
    text = f"{unit.of}{tested} and {other} do not differ significantly in likelihood: {gain} ({over})."
    if difference.groups < FEWEST_SCENES:
        text = (
            f"{text[:-1]}; {counted(difference.groups, group_is)} cannot decide: score at least {FEWEST_SCENES} scenes."
        )
    return "open", measure, text


def _gap(unit: Unit, tested: str, gap: Interval, bound: bool) -> Finding:
    by = f"{'at most ' if bound else ''}{plus_minus(gap, 5)} {unit.unit}"
    if gap.below(ORACLE_MARGIN) and (bound or gap.above(-ORACLE_MARGIN)):
        return Finding("good", "oracle", f"{unit.of}{tested} is at the oracle: {by} from {unit.truth}.")
    if gap.above(0):
        text = f"{unit.of}{tested} is {by} behind the oracle, {unit.truth}"
        largest = f"; the gap may exceed {ORACLE_MARGIN} {unit.unit}, the largest that we call negligible"
        return Finding("open" if bound else "bad", "oracle", f"{text}{'' if bound else largest}.")
    if gap.below(0):
        text = f"{tested} scores {plus_minus(-gap, 5)} {unit.unit} better than the oracle, which is impossible: "
        return Finding("bad", "oracle", text + "does the oracle’s camera match this data?")
    return Finding("open", "oracle", f"The gap of {tested} to the oracle is not settled: {by}.")


def _paired(what: str, unit: Unit, score: LikelihoodScore) -> list[TableRow]:
    """Return the row of differences to the model under test, if there are other models."""
    behind = _whole(score).behind
    tested = next((name for name in _kinds(score) if name not in behind), "")
    cells = {tested: "0", **{name: plus_minus(value) for name, value in behind.items()}}
    row = TableRow(f"{what} − that of {tested}", f"{unit.unit}, paired", f"above 0: {tested} is better", cells)
    return [row] if behind else []


class DensityLikelihoodPresenter(Presenter[DensityLikelihood]):
    """Presents `DensityLikelihood`."""

    title = "Likelihood"
    method = (
        "NLL is −log density of the real noise, with the natural log. The density is continuous and is evaluated at "
        "the codes, unless the exact probability of each code is known (the oracle): that is spread over the code. "
        "Nats/dim refers to the normalised signal, "
        "(DN − black) / (white − black); nats/pixel in DN adds the mean over planes of log(white − black). If the "
        "clean signal is an estimate of variance v, relative to the noise, the noise is first divided by √(1 + v). "
        f"Differences are paired on the same pixels. Intervals are {percent(LEVEL)}, by the bootstrap-t over whole "
        f"scenes at one camera and ISO ({RESAMPLES:,} draws; over frames with fewer than {FEWEST_SCENES} "
        "scenes; Student’s t with fewer than 5). A model is better or worse if the interval excludes "
        f"0, and at the oracle if it is within {ORACLE_MARGIN} nats/dim. If codes are coarse relative to the noise, "
        f"the verdict is by the likelihood of the integers, below. By intensity: {SIGNAL_BINS} bins of a "
        "patch’s mean signal, equally spaced in its square root. Flows with couplings give one likelihood per patch, "
        "which cannot be split by plane; the samples are compared by plane below."
    )
    unit = Unit("nll", "nats/dim", "", "the true density")

    def findings(self, score: DensityLikelihood, tested: str) -> Sequence[Finding]:
        """Return whether the model under test is better or worse than each other, and its gap to the oracle."""
        if tested in score.without_density:
            text = f"{tested} has no density and therefore no likelihood: the verdict is based on its samples only."
            return [Finding("open", "nll", text)]
        # With coarse codes, a density proves nothing: the likelihood of the codes decides.
        return [] if score.coarse else _comparisons(score, tested, self.unit)

    def table(self, score: DensityLikelihood) -> Sequence[TableRow]:
        """Return the NLL in both units, and the differences."""
        whole = score.cells[0]
        return [
            TableRow("NLL", "nats/dim, normalised", "lower", _each(whole.nats_per_dim)),
            TableRow("NLL", "nats/pixel, DN", "lower", _each(whole.nats_per_pixel_dn)),
            *_paired("NLL", self.unit, score),
        ]

    def records(self, score: DensityLikelihood) -> Sequence[Record]:
        """Return all likelihoods and differences."""
        kinds = (
            ("nll", "nats/dim", "nats_per_dim"),
            ("nll_dn", "nats/pixel", "nats_per_pixel_dn"),
            ("nll_behind", "nats/dim", "behind"),
        )
        return [
            Record(measure, unit, model, cell.camera, cell.iso, cell.part, *value.numbers)
            for cell in (*score.cells, *score.cameras, *score.signals)
            for measure, unit, name in kinds
            for model, value in getattr(cell, name).items()
        ]

    def plates(self, score: DensityLikelihood, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Draw NLL against ISO, and the paired differences."""
        if not score.density:
            return []
        cameras = [cell.camera for cell in score.cells if cell.camera is not None]
        several = [camera for camera in dict.fromkeys(cameras) if cameras.count(camera) > 1][:4]
        drawn = [_against_iso(score, camera, pens) for camera in several]
        if score.cells[0].behind:
            drawn.append(_differences(score, pens))
            drawn += [_by_signal(score, pens)] if len(score.signals) > 1 else []
        return drawn


def _each(values: Mapping[str, Interval]) -> dict[str, str]:
    # Without ±: models are compared by the paired difference, not by the spread of levels between frames.
    return {DATA: "", **{name: number(value.value, 4) for name, value in values.items()}}


def _against_iso(score: DensityLikelihood, camera: str, pens: Mapping[str, Pen]) -> Plate:
    cells = [cell for cell in score.cells if cell.camera == camera]
    isos = [cell.iso for cell in cells if cell.iso is not None]
    with canvas() as figure:
        ax = axes(figure, "ISO", "NLL, nats/pixel in DN")
        for name in cells[0].nats_per_pixel_dn:
            # With two or three scenes, a bar would be huge and hide the rest.
            values = [cell.nats_per_pixel_dn[name] for cell in cells]
            bars(ax, isos, [each if each.groups > 3 else each.without_interval for each in values], pens[name], name)
        ax.set_xscale("log", base=2)
        ax.set_xticks(isos, [f"{iso:g}" for iso in isos], rotation=45 if len(isos) > 6 else 0)
        ax.minorticks_off()
        legend(figure)
        return plate(
            figure,
            title=f"NLL by ISO, {camera}",
            alt=f"NLL in nats per pixel in DN against ISO for {camera}, one line per model",
            caption="NLL of the held-out noise in DN at each ISO; lower is better. It rises with the gain because "
            f"the noise spreads over more codes. Bars: {percent(LEVEL)} intervals, with more than 3 {score.group_is}s.",
        )


def _by_signal(score: DensityLikelihood, pens: Mapping[str, Pen]) -> Plate:
    with canvas() as figure:
        ax = axes(figure, "mean signal of a patch, DN above black", "difference in NLL, nats/dim")
        ax.axhline(0, color=GREY, linewidth=0.8)
        places = [part.signal_dn for part in score.signals]
        for name in score.signals[0].behind:
            bars(ax, places, [part.behind[name] for part in score.signals], pens[name], name)
        if max(abs(value.value) for part in score.signals for value in part.behind.values()) > 0.1:
            ax.set_yscale("symlog", linthresh=0.01, linscale=0.7)
        legend(figure)
        return plate(
            figure,
            title="Likelihood by intensity",
            alt="Difference in NLL of each other model to the model under test against mean signal",
            caption="Paired difference in NLL, nats/dim, in bins of the patches’ mean signal. Above 0, the model "
            f"under test is better. Bars: {percent(LEVEL)} intervals over {score.group_is}s.",
        )


def _differences(score: DensityLikelihood, pens: Mapping[str, Pen]) -> Plate:
    shown = [score.cells[index] for index in evenly(range(len(score.cells)), MOST_CELLS_DRAWN)]
    names = cell_labels([(cell.camera, cell.iso) for cell in shown]) if len(shown) > 1 else ["all"]
    others = list(shown[0].behind)
    with canvas(height=1.4 + 0.2 * len(shown) * len(others)) as figure:
        ax = axes(figure, "difference in NLL, nats/dim", "")
        across(ax, {name: [cell.behind[name] for cell in shown] for name in others}, pens)
        ax.axvline(0, color=GREY, linewidth=1)
        _symlog(ax, shown)
        names_down(ax, names)
        legend(figure)
        left_out = len(score.cells) - len(shown)
        return plate(
            figure,
            title="Likelihood against the model under test",
            alt="Difference in NLL of each other model to the model under test, with intervals",
            caption="Paired difference in NLL, nats/dim. To the right of 0, the model under test is better; a bar that "
            f"crosses 0 is not significant. Bars: {percent(LEVEL)} intervals over {score.group_is}s."
            + (f" {left_out} more in metrics.csv." if left_out else ""),
        )


def _symlog(ax: Any, cells: Sequence[DensityLikelihoodCell]) -> None:
    """Use a symmetric logarithmic axis if differences range from thousandths to whole nats."""
    values = [value for cell in cells for value in cell.behind.values()]
    if max(abs(value.value) for value in values) <= 0.1:
        return
    ax.set_xscale("symlog", linthresh=0.01, linscale=0.7)
    known = [end for value in values for end in (value.low, value.high) if end is not None]
    ax.set_xlim(2 * min([-0.005, *known]), 2 * max([0.005, *known]))
    steps = [0.01 * 10.0**power for power in range(6)]
    low, high = ax.get_xlim()
    ticks = [tick for tick in [*(-step for step in reversed(steps)), 0.0, *steps] if low <= tick <= high]
    ax.set_xticks(ticks, [number(tick, 2 if abs(tick) < 0.1 else 1) for tick in ticks])
    ax.minorticks_off()


class CodeLikelihoodPresenter(Presenter[CodeLikelihood]):
    """Presents `CodeLikelihood`."""

    title = "Likelihood of the integers"
    method = (
        "−log probability of the real codes, natural log, nats/pixel in DN: the density integrated from half a code "
        "below to half a code above, from code 0 down and from the white level up without end, as a sensor clips. It "
        "does not depend on how the signal is normalised, and is 0 or more. It is exact if a model has a "
        "distribution function for each pixel. With row noise below 2 % of the read-noise variance it is the sum over "
        "the pixels, each by itself, and leaves out what rows share. Otherwise, marked ≤, it is minus the evidence "
        "lower bound (ELBO): an analogue value is drawn within each code from a normal of the model’s own σ, and the "
        "log of density over proposal is averaged; the "
        "model’s true NLL is lower. It is computed on a subset of the patches. Differences are paired and intervals "
        f"are {percent(LEVEL)}, as for the likelihood above. The verdict uses it if codes are coarse, with σ in "
        f"the dark below 2 DN (1/12 DN² above {percent(COARSE)} of the variance): a continuous density can then gain "
        "without limit by narrow peaks at the codes. With finer codes, both differ by a constant. At the oracle means "
        f"within {ORACLE_MARGIN} nats/pixel. Flows with couplings give one likelihood per patch, so "
        "only exact models are shown by plane."
    )

    def findings(self, score: CodeLikelihood, tested: str) -> Sequence[Finding]:
        """With coarse codes, return whether the model is better or worse than each other, and its gap to the oracle."""
        if not score.coarse or tested not in score.kinds:
            return []
        of = f"Of the integers (σ is {number(score.sigma_dn, 2)} DN in the dark), "
        return _comparisons(score, tested, Unit("nll_codes", "nats/pixel", of, "the true probabilities"))

    def table(self, score: CodeLikelihood) -> Sequence[TableRow]:
        """Return the NLL of the codes, and the differences if codes are coarse."""
        if not score.kinds:
            return []
        values = {
            name: ("≤ " if score.kinds[name] == "bound" else "") + number(value.value, 4)
            for name, value in score.cells[0].nats_per_pixel.items()
        }
        row = TableRow("NLL of the codes", "nats/pixel, DN, discretised; ≤: a bound", "lower", {DATA: "", **values})
        unit = Unit("nll_codes", "nats/pixel", "", "")
        return [row, *(_paired("NLL of the codes", unit, score) if score.coarse else [])]

    def records(self, score: CodeLikelihood) -> Sequence[Record]:
        """Return all likelihoods and differences; the measure's name ends with "_bound" if it is a bound."""
        tested = list(score.kinds)[:1]
        return [
            Record(measure, "nats/pixel", model, cell.camera, cell.iso, cell.part, *value.numbers)
            for cell in (*score.cells, *score.cameras, *score.signals, *score.planes)
            for name, field, partners in (("nll_codes", "nats_per_pixel", []), ("nll_codes_behind", "behind", tested))
            for model, value in getattr(cell, field).items()
            for bound in [any(score.kinds[each] == "bound" for each in (*partners, model))]
            for measure in [f"{name}_bound" if bound else name]
        ]

    def plates(self, score: CodeLikelihood, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Draw the NLL against intensity, and by plane."""
        if not score.kinds:
            return []
        drawn = [_codes_by_signal(score, pens)] if len(score.signals) > 1 else []
        return drawn + ([_codes_by_plane(score, pens)] if any(each.nats_per_pixel for each in score.planes) else [])


def _codes_by_signal(score: CodeLikelihood, pens: Mapping[str, Pen]) -> Plate:
    with canvas() as figure:
        ax = axes(figure, "mean signal of a patch, DN above black", "NLL of the codes, nats/pixel")
        places = [part.signal_dn for part in score.signals]
        for name, kind in score.kinds.items():
            values = [part.nats_per_pixel[name].without_interval for part in score.signals]
            bars(ax, places, values, pens[name], f"{name} (≤)" if kind == "bound" else name)
        legend(figure)
        return plate(
            figure,
            title="Likelihood of the integers by intensity",
            alt="NLL of the codes in nats per pixel against mean signal, one line per model",
            caption="Discretised NLL of the real codes, nats/pixel; lower is better, and no model can be below the "
            "entropy of the noise. ≤: the model’s true value is lower.",
        )


def _codes_by_plane(score: CodeLikelihood, pens: Mapping[str, Pen]) -> Plate:
    shown = score.planes[0].nats_per_pixel
    with canvas(height=2.6) as figure:
        ax = axes(figure, "plane", "NLL of the codes, nats/pixel")
        for name in shown:
            values = [plane.nats_per_pixel[name] for plane in score.planes]
            bars(ax, range(len(score.planes)), values, pens[name], name, joined=False)
        ax.set_xticks(range(len(score.planes)), [plane.part.removeprefix("plane ") for plane in score.planes])
        ax.set_xlim(-0.5, len(score.planes) - 0.5)
        legend(figure)
        left_out = [name for name in score.kinds if name not in shown]
        return plate(
            figure,
            title="Likelihood of the integers by plane",
            alt="NLL of the codes in nats per pixel for each plane, one marker per model",
            caption="Discretised NLL of the real codes in each plane, nats/pixel; planes differ in their signal. "
            f"Bars: {percent(LEVEL)} intervals over {score.group_is}s."
            + (f" Not shown, as they have one likelihood per patch: {', '.join(left_out)}." if left_out else ""),
        )
