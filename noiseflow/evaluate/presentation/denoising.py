"""Sentences and figures of the denoising cost."""

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
"""Largest cost that is not flagged, dB."""

COST_WIDE = 0.5
"""Largest upper end of the interval at which samples count as good as real noise, dB."""


class DenoisingPresenter(Presenter[DenoisingCost]):
    """Presents `DenoisingCost`."""

    title = "Cost of a denoiser"

    method = (
        f"On at most {CLOSE_VALUES:,} values and {WINDOWS:,} windows of each source: residuals (noise over the real "
        "noise’s σ at that signal, ±½ code added). A linear denoiser estimates the clean signal from a window of all "
        "planes and the means of the rows and columns through it. All denoisers use the same synthetic scenes, smooth "
        f"shading with a spectrum of 1/f⁴ and a standard deviation of {SIGNAL:g} σ, so that only the noise differs. "
        f"The best denoiser for the noise of one of {PARTS} parts of the scenes is tested on the real noise of another "
        "part. The cost is the increase of the mean squared error, in dB, of training on samples instead of real "
        "noise; the floor is that of training on real noise of the third part. Flagged above "
        f"{COST_MARGIN:g} dB if the {percent(VERDICT, 1)} interval over scenes excludes 0. The cost depends on second "
        "moments only, not on tails."
    )

    def findings(self, score: DenoisingCost, tested: str) -> Sequence[Finding]:
        """Return whether samples are as good as real noise for training a denoiser."""
        if tested not in score.cost:
            text = f"Too few scenes to train and test a denoiser ({score.groups}); score at least {FEWEST_SCENES}."
            return [Finding("open", "denoising", text)]
        cost, floor = score.cost[tested], score.floor
        numbers = f"{plus_minus(cost, 2)} dB on real noise"
        if floor is not None:
            numbers += f"; other real noise costs {plus_minus(floor, 2)} dB"
        what = "the best linear denoiser trained on the samples loses"
        if cost.low is None:
            return [Finding("open", "denoising", f"Too few scenes for an interval: {what} {numbers}.")]
        if cost.value > COST_MARGIN and cost.above(0):
            return [Finding("bad", "denoising", f"Training a denoiser on samples costs accuracy: {what} {numbers}.")]
        if not cost.below(COST_WIDE):
            text = f"Too few scenes to decide what training a denoiser on samples costs: {what} {numbers}."
            return [Finding("open", "denoising", text)]
        return [Finding("good", "denoising", f"{what.capitalize()} {numbers}.")]

    def table(self, score: DenoisingCost) -> Sequence[TableRow]:
        """Return the costs, and the floor in the data's column."""
        if not score.cost or score.floor is None:
            return []
        cells = {name: plus_minus(value, 2) for name, value in score.cost.items()}
        return [TableRow("Cost of a denoiser", "dB", "0", {DATA: plus_minus(score.floor, 2), **cells})]

    def records(self, score: DenoisingCost) -> Sequence[Record]:
        """Return the costs and the floor."""
        if not score.cost or score.floor is None:
            return []
        values = {DATA: score.floor, **score.cost}
        return [Record("denoising_cost", "dB", name, None, None, "", *value.numbers) for name, value in values.items()]

    def plates(self, score: DenoisingCost, pens: Mapping[str, Pen]) -> Sequence[Plate]:
        """Draw the costs with their intervals."""
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
                    caption="Loss on real noise of the best linear denoiser for samples, compared with the best one "
                    "for real noise. Good: 0. The data’s value is that of other real noise, that is, chance.",
                )
            ]


def cost_in_words(score: DenoisingCost, tested: str) -> str:
    """Return a sentence on the denoising cost for the headline; empty if it is unknown."""
    if tested not in score.cost:
        return ""
    return f"A linear denoiser trained on them loses {plus_minus(score.cost[tested], 2)} dB."
