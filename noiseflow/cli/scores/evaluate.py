"""``noiseflow evaluate``."""

from pathlib import Path

import click

from noiseflow.cli.options import PATH, out_option, overwrite_option, seed_option
from noiseflow.cli.progress import shown

__all__ = ["evaluate"]


@click.command()
@click.argument("runs", type=PATH, nargs=-1, required=True, metavar="RUN...")
@click.argument("store", type=PATH)
@out_option("Report folder to write.")
@click.option("--split", default="test", show_default=True, help="Which patches to score: train, val or test.")
@click.option("--max-patches", type=click.IntRange(min=1), help="Score so many at the most.")
@click.option("--legacy-kl", is_flag=True, help="Add the published KL estimators, with a warning and their floor.")
@seed_option
@overwrite_option
def evaluate(
    runs: tuple[Path, ...],
    store: Path,
    out: Path,
    split: str,
    max_patches: int | None,
    legacy_kl: bool,
    seed: int,
    overwrite: bool,
) -> None:
    """Score the models in RUN... on the held-out patches of STORE, beside nlf, gaussian and the oracle.

    The baselines nlf and gaussian are fitted to the training patches of STORE on the way;
    the oracle is there for simulated data whose density is known. The first RUN is the one
    that the report's words are about.

    \b
    noiseflow evaluate run/ patches.h5 --out report/
    """  # noqa: D301
    from noiseflow.cli.table import print_scores
    from noiseflow.core.output.checks import writing
    from noiseflow.evaluate import evaluate as run, write_report
    from noiseflow.evaluate.baselines import baselines, load_runs
    from noiseflow.patches import PatchStore

    with writing(out, folder=True, inputs=[*runs, store], overwrite=overwrite):
        models = load_runs(list(runs))
        with PatchStore(store) as patches, shown("evaluate", "patches") as progress:
            models |= baselines(patches, models, progress)
            result = run(
                models,
                patches,
                split=split,
                seed=seed,
                max_patches=max_patches,
                legacy_kl=legacy_kl,
                progress=progress,
            )
        write_report(result, out, overwrite=overwrite)
    print_scores(result)
    if legacy_kl:
        legacy = next(finding for finding in result.findings if finding.measure == "legacy_kl")
        click.echo(f"noiseflow: {legacy.text[0].lower()}{legacy.text[1:]}", err=True)
    click.echo(f"report: {out / 'index.html'}")
