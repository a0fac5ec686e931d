"""``noiseflow push``."""

from pathlib import Path

import click

from noiseflow.cli.options import PATH
from noiseflow.cli.streams import answer

__all__ = ["push"]


@click.command()
@click.argument("run", type=PATH)
@click.argument("repo", metavar="USER/NAME")
@click.option("--report", "scored", type=PATH, help="Report folder; the model card shows its verdict and findings.")
@click.option("--licence", default="apache-2.0", show_default=True, help="Licence of the weights.")
@click.option("--private", is_flag=True, help="Create the repository as a private one.")
def push(run: Path, repo: str, scored: Path | None, licence: str, private: bool) -> None:
    """Publish the model in RUN on the Hugging Face Hub, with a model card.

    Log in with `hf auth login`, or set the environment variable HF_TOKEN. Needs the extra [hub].

    \b
    noiseflow push run/ user/name --report report/
    """  # noqa: D301
    from noiseflow.models.io.hub import push as publish

    answer(publish(run, repo, report=scored, licence=licence, private=private))
