"""``noiseflow evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from noiseflow.cli.choices import Registered
from noiseflow.cli.options import (
    PATH,
    device_option,
    json_option,
    out_option,
    overwrite_option,
    seed_option,
    split_option,
)
from noiseflow.cli.progress import shown
from noiseflow.cli.streams import answer, say
from noiseflow.core.text import LONGEST_LINE, plain_text

if TYPE_CHECKING:
    from noiseflow.patches import PatchStore

__all__ = ["evaluate"]


@click.command()
@click.argument("runs", type=PATH, nargs=-1, required=True, metavar="RUN...")
@click.argument("store", type=PATH)
@out_option("Report folder to write.")
@split_option("Patches to score.")
@click.option("--max-patches", type=click.IntRange(min=1), help="Score at most this many patches.")
@click.option(
    "--metrics",
    type=Registered("noiseflow.evaluate.metrics.registry:OPTIONAL"),
    multiple=True,
    help="Add this metric to the default ones; repeatable.",
)
@click.option(
    "--legacy-kl", is_flag=True, help="Add the published KL estimators, with their noise floor and a warning."
)
@click.option(
    "--body",
    type=PATH,
    help="Maps of the body from noiseflow calibrate --maps, for a store that was ingested without them: the fixed "
    "pattern is subtracted from the noise, and hot pixels are masked.",
)
@device_option
@json_option
@seed_option
@overwrite_option
def evaluate(
    runs: tuple[Path, ...],
    store: Path,
    out: Path,
    split: str,
    max_patches: int | None,
    metrics: tuple[str, ...],
    legacy_kl: bool,
    body: Path | None,
    device: str,
    as_json: bool,
    seed: int,
    overwrite: bool,
) -> None:
    """Score models on held-out patches of STORE, compared with nlf, gaussian and the oracle.

    RUN is a run folder, a profile from noiseflow calibrate, a camera that noiseflow profiles lists,
    or a folder of samples that another program drew for the output of noiseflow clean-patches.
    The first RUN is the model under test. The baselines nlf and gaussian are fitted to the training
    patches of STORE; for simulated data of known density, the true density is added as the oracle.

    \b
    noiseflow evaluate run/ patches.h5 --out report/
    noiseflow evaluate run/ patches.h5 --body body.h5 --out report/
    """  # noqa: D301
    from noiseflow.cli.table import print_scores
    from noiseflow.core.output.checks import writing
    from noiseflow.core.progress import in_stages
    from noiseflow.evaluate import evaluate as run, write_report
    from noiseflow.evaluate.baselines import baselines, named
    from noiseflow.evaluate.evaluate_models import evaluation_costs
    from noiseflow.evaluate.samples.to_score import to_score
    from noiseflow.fit.training.session import device_of

    optional = (*metrics, *(["legacy_kl"] if legacy_kl else []))
    inputs = [*runs, store, *([body] if body is not None else [])]
    with writing(out, folder=True, inputs=inputs, overwrite=overwrite):
        chosen = device_of(device)
        with _opened(store, body) as patches, shown("evaluate", "%") as progress:
            models = named([(name, to_score(name, patches, split).to(chosen)) for name in runs])
            stage = in_stages(progress, evaluation_costs(patches, split, max_patches))
            fitted = baselines(patches, models, stage("baselines"))
            models |= {name: each.to(chosen) for name, each in fitted.items()}
            result = run(
                models,
                patches,
                split=split,
                seed=seed,
                max_patches=max_patches,
                metrics=optional,
                progress=stage("evaluation"),
            )
            write_report(result, out, overwrite=overwrite, progress=stage("figures"))
    if as_json:
        answer(result.to_json().rstrip("\n"), whole=True)
    else:
        print_scores(result)
    if "legacy_kl" in optional:
        legacy = next(finding for finding in result.findings if finding.measure == "legacy_kl")
        say(f"noiseflow: {legacy.text[0].lower()}{legacy.text[1:]}")
    (say if as_json else answer)(f"report: {out / 'index.html'}")


def _opened(path: Path, body: Path | None) -> "PatchStore":
    """Open the store; if body maps are given, subtract their fixed pattern from the noise."""
    from noiseflow.patches import PatchStore

    if body is None:
        return PatchStore(path)
    from noiseflow.patches.assembly.store_with_body import StoreWithBody

    store = StoreWithBody(path, body)
    for gap in store.gaps:
        say(f"noiseflow: {plain_text(gap, LONGEST_LINE)}")
    return store
