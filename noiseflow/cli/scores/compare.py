"""``noiseflow compare``."""

from pathlib import Path

import click

from noiseflow.cli.options import PATH, json_option, print_json
from noiseflow.cli.streams import answer

__all__ = ["compare"]

LABELS = {
    "nats_per_dim": "NLL [nats/dim]",
    "nats_per_pixel_dn": "NLL [nats/pixel in DN]",
    "nats_per_pixel_codes": "NLL of the integers [nats/pixel]",
    "kl": "KL of the histograms [nats]",
    "variance_ratio": "variance, sampled / real",
    "kurtosis": "kurtosis (Gaussian: 3)",
    "two_sample": "two-sample test, accuracy",
}
"""Key of a number in ``metrics.json`` → its label in the table."""


@click.command()
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
@json_option
def compare(first: Path, second: Path, as_json: bool) -> None:
    """Compare the models under test of the report folders FIRST and SECOND.

    If both scored the same patches, the difference in likelihood is paired by scene.

    \b
    noiseflow compare report_before/ report_now/
    """  # noqa: D301
    from noiseflow.cli.table import print_table
    from noiseflow.evaluate.presentation.formatting import plus_minus
    from noiseflow.evaluate.report.compare_reports import compare as run

    found = run(first, second)
    if as_json:
        numbers = {
            name: [None if each is None else each.value for each in values] for name, values in found.numbers.items()
        }
        print_json({"models": found.models, "numbers": numbers, "words": found.words()})
        return
    columns = [f"{place} ({model})" for place, model in zip(("first", "second"), found.models, strict=True)]
    rows = {
        LABELS.get(name, name.replace("_", " ")): {
            column: "–" if value is None else plus_minus(value, 4)
            for column, value in zip(columns, values, strict=True)
        }
        for name, values in found.numbers.items()
    }
    print_table("measure", columns, rows)
    for sentence in found.words():
        answer(sentence)
