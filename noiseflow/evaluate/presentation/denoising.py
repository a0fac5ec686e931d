"""Words and figures of what a denoiser loses by being trained on samples."""

from collections.abc import Mapping, Sequence

from noiseflow.evaluate.data_summary import CLOSE_VALUES, FEWEST_SCENES
from noiseflow.evaluate.metric import DATA
from noiseflow.evaluate.metrics.denoising import PARTS, SIGNAL, WINDOWS, DenoisingCost
from noiseflow.evaluate.presentation.figures import Pen, Plate, axes, canvas, dots, names_down, plate, shown
from noiseflow.evaluate.presentation.formatting import percent, plus_minus
from noiseflow.evaluate.presentation.presenter import Finding, Presenter, Record, TableRow
from noiseflow.evaluate.statistics.intervals import VERDICT

__all__ = ["DenoisingPresenter", "cost_in_words"]

COST_MARGIN = 0.05
"""Cost that passes as none, dB."""

COST_WIDE = 0.5
"""Largest cost within the interval at which samples are called as good as real noise, dB."""


class DenoisingPresenter(Presenter[DenoisingCost]):
    """Words and figures of `DenoisingCost`."""

    title = "Cost of a denoiser"

    method = (
        f"On at most {CLOSE_VALUES:,} values and {WINDOWS:,} windows of each source: residuals (noise over the real "
        "noise’s σ at that signal, ±½ code added). A linear denoiser estimates the clean signal from a window of all "
        "planes and the means of the rows and columns through it; its scenes are smooth shading (a spectrum of "
        f"1/f⁴, {SIGNAL:g} σ strong), whose second moments are known, so that only the noise differs. The best one "
        f"for the noise of one part of the scenes ({PARTS} parts) is tried on the real noise of another. Cost: dB of "
        "mean squared error that it loses if it was made for samples instead of real noise; the floor is that of real "
        f"noise of the third part. Flagged above {COST_MARGIN:g} dB where the {percent(VERDICT, 1)} interval over "
        "scenes excludes 0. Nothing but second moments counts: tails are not seen."
    )

    def findings(self, score: DenoisingCost, tested: str) -> Sequence[Finding]:
        """Whether samples do for a denoiser."""
        if tested not in score.cost:
            text = f"Too few scenes to train and try a denoiser ({score.groups}); score {FEWEST_SCENES} scenes or more."
            return [Finding("open", "denoising", text)]
        cost, floor = score.cost[tested], score.floor
        numbers = f"{plus_minus(cost, 2)} dB on real noise"
        if floor is not None:
            numbers += f"; other real noise costs {plus_minus(floor, 2)} dB"
        what = "the best linear denoiser trained on the samples loses"
        if cost.low is None:
            return [Finding("open", "denoising", f"Too few scenes for an interval: {what} {numbers}.")]
        if cost.value > COST_MARGIN and cost.above(0):
            return [Finding("bad", "denoising", f"Samples cost a denoiser: {what} {numbers}.")]
        if not cost.below(COST_WIDE):
            text = f"Too few scenes to decide what samples cost a denoiser: {what} {numbers}."
            return [Finding("open", "denoising", text)]
        return [Finding("good", "denoising", f"{what.capitalize()} {numbers}.")]

    def table(self, score: DenoisingCost) -> Sequence[TableRow]:
        """Costs, and the floor as that of the data."""
        if not score.cost or score.floor is None:
            return []
        cells = {name: plus_minus(value, 2) for name, value in score.cost.items()}
        return [TableRow("Cost of a denoiser", "dB", "0", {DATA: plus_minus(score.floor, 2), **cells})]

    def records(self, score: DenoisingCost) -> Sequence[Record]:
        """Costs and the floor."""
        if not score.cost or score.floor is None:
            return []
        values = {DATA: score.floor, **score.cost}
        return [Record("denoising_cost", "dB", name, None, None, "", *value.numbers) for name, value in values.items()]

    def plates(self, score: DenoisingCost, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Costs with their intervals."""
        if not score.cost or score.floor is None:
            return []
        values = {DATA: score.floor, **score.cost}
        names = list(values)
        with canvas(height=1.1 + 0.3 * len(names)) as figure:
            ax = axes(figure, "cost, dB", "")
            ax.axvline(0, color=pens[DATA].colour, linewidth=0.8)
            for place, name in enumerate(names):
                dots(ax, [values[name]], [float(place)], pens[name], shown(name))
            names_down(ax, names)
            return [
                plate(
                    figure,
                    title="Cost of a denoiser",
                    alt="Loss of a linear denoiser trained on each model’s samples, in dB on real noise",
                    caption="The best linear denoiser for samples, on real noise, against that for real noise. Good: "
                    "0. The data’s own is that of other real noise: chance.",
                )
            ]


def cost_in_words(score: DenoisingCost, tested: str) -> str:
    """What a denoiser loses, as a sentence of the verdict; nothing where it is not known."""
    if tested not in score.cost:
        return ""
    return f"A linear denoiser trained on them loses {plus_minus(score.cost[tested], 2)} dB."
