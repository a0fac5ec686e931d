"""How often a report on the right model flags a fault, for several kinds of noise.

The stores and models are those of the tests; run it where they are.

python -m tools.studies.judging.false_alarms --reports 200
"""

from collections import Counter
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import torch
from scipy.stats import beta

from noiseflow.evaluate import evaluate

WORKSHOP = Path(__file__).resolve().parents[3] / "tests" / "evaluate" / "conftest.py"
KINDS = ("white", "rows", "smoothed", "tails")
NOT_RIGHT = {"tails": ("calibration",)}
"""Checks of the density where it is the Gaussian of the same variance, whatever the noise: flagged rightly."""


def flagged(kind: str, seed: int) -> tuple[str, ...]:
    """Measures that flag a fault in the report of the right model on one store."""
    torch.set_num_threads(1)
    made = _workshop()
    noise = {
        "white": made.white,
        "rows": made.with_rows(0.3),
        "smoothed": made.smoothed,
        "tails": made.heavy_tailed,
    }[kind]
    with TemporaryDirectory() as folder:
        workshop = made.Workshop(Path(folder))
        with workshop.store(noise=noise, seed=seed) as store:
            found = evaluate({"right": workshop.model(noise=noise)}, store, seed=seed).findings
    skipped = NOT_RIGHT.get(kind, ())
    return tuple(finding.measure for finding in found if finding.level == "bad" and finding.measure not in skipped)


@click.command()
@click.option("--reports", type=click.IntRange(min=1), default=200, show_default=True, help="Of each kind of noise.")
@click.option("--first", default=1000, show_default=True, help="First seed.")
@click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True)
def main(reports: int, first: int, jobs: int) -> None:
    """Count the reports on right models that flag anything, and by which measure."""
    wrong = 0
    with get_context("spawn").Pool(jobs) as pool:
        for kind in KINDS:
            each = pool.map(partial(flagged, kind), range(first, first + reports))
            bad = sum(bool(measures) for measures in each)
            wrong += bad
            said = ", ".join(f"{name} {count}" for name, count in Counter(sum(each, ())).most_common())
            click.echo(f"{kind:10} {bad} of {reports}   {said}")
    total = reports * len(KINDS)
    low, high = beta.ppf(0.025, wrong, total - wrong + 1) if wrong else 0.0, beta.ppf(0.975, wrong + 1, total - wrong)
    click.echo(f"{wrong} of {total}: {100 * wrong / total:.1f} % (95 %: {100 * low:.1f} to {100 * high:.1f} %)")


def _workshop() -> Any:
    spec = spec_from_file_location("workshop", WORKSHOP)
    if spec is None or spec.loader is None:
        raise click.ClickException(f"{WORKSHOP}: is not there; run this in a checkout of the sources")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
