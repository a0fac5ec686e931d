"""How often a fit chooses the components that were planted: the same camera at several seeds.

python -m tools.studies.zoo.seeds --seeds 20
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import click

from noiseflow.fit import FitSettings, fit, spec_for
from tools.studies.zoo.__main__ import ZOO
from tools.studies.zoo.frames import store_of
from tools.studies.zoo.trial import chosen
from tools.studies.zoo.unseen import UNSEEN


@click.command()
@click.option("--camera", "names", multiple=True, type=click.Choice([*ZOO, *UNSEEN]), help="The zoo by default.")
@click.option("--seeds", default=20, show_default=True, help="How many, from 0 on.")
def main(names: tuple[str, ...], seeds: int) -> None:
    """Print what each seed of a camera chose, and how many chose what was planted."""
    cameras = {**ZOO, **UNSEEN}
    for name in names or ZOO:
        frames, planted = cameras[name]
        right = 0
        for seed in range(seeds):
            with TemporaryDirectory() as folder, store_of(Path(folder) / "store.h5", frames, seed) as store:
                # Components are chosen before the first step.
                settings = FitSettings(epochs=1, steps_per_epoch=1)
                result = fit(store, spec_for(store, "physics_flow"), Path(folder) / "run", settings)
            right += chosen(result) == planted
            click.echo(f"{name}, seed {seed}: {'; '.join(result.components)}")
        click.echo(f"{name}: {planted} in {right} of {seeds} seeds")


if __name__ == "__main__":
    main()
