"""``noiseflow evaluate``."""

from pathlib import Path

import click

from noiseflow.cli.choices import Registered
from noiseflow.cli.options import PATH, device_option, json_option, out_option, overwrite_option, seed_option
from noiseflow.cli.progress import shown
from noiseflow.cli.streams import say

__all__ = ["evaluate"]


@click.command()
@click.argument("runs", type=PATH, nargs=-1, required=True, metavar="RUN...")
@click.argument("store", type=PATH)
@out_option("Report folder to write.")
@click.option(
    "--split",
    type=Registered("noiseflow.patches.schema:SPLITS"),
    default="test",
    show_default=True,
    help="Patches to score.",
)
@click.option("--max-patches", type=click.IntRange(min=1), help="Score at most this many patches.")
@click.option("--legacy-kl", is_flag=True, help="Add the published KL estimators, with a warning and their floor.")
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
    legacy_kl: bool,
    device: str,
    as_json: bool,
    seed: int,
    overwrite: bool,
) -> None:
    """Score models on the held-out patches of STORE, beside nlf, gaussian and the oracle.

    RUN is a run folder, a profile of noiseflow calibrate, or a camera that noiseflow profiles lists.
    The report is about the first RUN. The baselines nlf and gaussian are fitted to the training
    patches of STORE; simulated data of known density add the true density, the oracle.

    \b
    noiseflow evaluate run/ patches.h5 --out report/
    """  # noqa: D301
    from noiseflow.cli.table import print_scores
    from noiseflow.core.output.checks import writing
    from noiseflow.core.progress import in_stages
    from noiseflow.evaluate import evaluate as run, write_report
    from noiseflow.evaluate.baselines import baselines, named
    from noiseflow.evaluate.evaluate_models import evaluation_costs
    from noiseflow.fit.training.session import device_of
    from noiseflow.models import load
    from noiseflow.patches import PatchStore

    with writing(out, folder=True, inputs=[*runs, store], overwrite=overwrite):
        chosen = device_of(device)
        models = named([(name, load(name, "poisson_gaussian").to(chosen)) for name in runs])
        with PatchStore(store) as patches, shown("evaluate", "%") as progress:
            stage = in_stages(progress, evaluation_costs(patches, split, max_patches))
            fitted = baselines(patches, models, stage("baselines"))
            models |= {name: each.to(chosen) for name, each in fitted.items()}
            result = run(
                models,
                patches,
                split=split,
                seed=seed,
                max_patches=max_patches,
                legacy_kl=legacy_kl,
                progress=stage("evaluation"),
            )
            write_report(result, out, overwrite=overwrite, progress=stage("figures"))
    if as_json:
        click.echo(result.to_json(), nl=False)
    else:
        print_scores(result)
    if legacy_kl:
        legacy = next(finding for finding in result.findings if finding.measure == "legacy_kl")
        say(f"noiseflow: {legacy.text[0].lower()}{legacy.text[1:]}")
    click.echo(f"report: {out / 'index.html'}", err=as_json)
