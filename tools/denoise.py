"""Make docs/denoising.md: how well denoisers trained on each model's noise denoise the true noise.

python -m tools.denoise docs/denoising.md --data ../shared/data --work denoise --jobs 2
"""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import torch

from noiseflow.cli.progress import shown
from noiseflow.core.progress import Progress
from noiseflow.evaluate.benchmark.spec import digest
from noiseflow.fit import FitSettings
from noiseflow.models.io.run_folder import WEIGHTS
from noiseflow.patches.checksums import file_sha256
from noiseflow.patches.ingestion.executors import Pool, executor
from tools.denoising.page import write_page
from tools.denoising.sources import CALIBRATED, TRUE, fit_source, is_fitted, run_folder
from tools.denoising.spec import CameraSpec, Spec, read_spec
from tools.denoising.training import Settings, run_cell

PATH = click.Path(path_type=Path)


@dataclass(frozen=True)
class Place:
    """A camera of the spec, its folder and the folder of real data: what a process needs to open it."""

    camera: CameraSpec
    folder: Path
    data: Path

    def open(self) -> Any:
        """The camera."""
        return self.camera.open(self.folder, self.data)


@dataclass(frozen=True)
class Cell:
    """One training."""

    place: Place
    network: str
    noise: str
    seed: int
    settings: Settings

    @property
    def record(self) -> Path:
        """Its JSON file."""
        return self.place.folder / "cells" / f"{self.network}-{self.noise.replace(' ', '_')}-{self.seed}.json"

    @property
    def key(self) -> str:
        """Checksum of what its result depends on."""
        camera = self.place.open()
        if self.noise == TRUE:
            made_by = ""
        else:
            made_by = file_sha256(
                camera.profile if self.noise in CALIBRATED else run_folder(camera, self.noise) / WEIGHTS
            )
        camera_spec = asdict(replace(self.place.camera, name="", networks=()))
        del camera_spec["more_seeds"]
        return digest("denoise", camera_spec, self.network, self.noise, self.seed, self.settings, made_by)

    def done(self) -> dict[str, Any] | None:
        """Its record, if it is of this very cell."""
        if not self.record.exists():
            return None
        record: dict[str, Any] = json.loads(self.record.read_text(encoding="utf-8"))
        return record if record["key"] == self.key else None


@click.command()
@click.argument("out", type=PATH)
@click.option(
    "--spec",
    type=click.Path(path_type=Path, exists=True),
    default=Path(__file__).parent / "denoising" / "denoise.toml",
    help="Cameras, noises, networks, steps.",
)
@click.option("--data", type=PATH, default=Path("../shared/data"), show_default=True, help="Folder of real data.")
@click.option(
    "--work",
    type=PATH,
    default=Path("denoise"),
    show_default=True,
    help="Folder for data, noise models and trainings; what is finished in it is not done again.",
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes, of one thread each.")
def main(out: Path, spec: Path, data: Path, work: Path, jobs: int) -> None:
    """Write the page of denoisers to OUT, and its picture to the folder images/ beside it."""
    wanted = read_spec(spec)
    places = [Place(camera, work / f"{index}", data) for index, camera in enumerate(wanted.cameras)]
    with executor(jobs) as pool:
        with shown("cameras", "cameras") as progress:
            each(pool, prepare, [(place,) for place in places], progress)
        fits = [(place, noise, FitSettings(**wanted.fit.get(noise, {}))) for place in places for noise in wanted.noises]
        todo = [fit for fit in fits if not is_fitted(fit[0].open(), fit[1])]
        with shown("noise models", "fits") as progress:
            each(pool, fit_one, todo, progress)
        cells = list(cells_of(wanted, places))
        with shown("denoisers", "trainings") as progress:
            each(pool, train_one, [(cell,) for cell in cells if cell.done() is None], progress)
    records = [record for cell in cells if (record := cell.done()) is not None]
    command = f"python -m tools.denoise docs/{out.name} --spec tools/denoising/{spec.name} --jobs {jobs}"
    write_page(out, wanted, [place.open() for place in places], records, command)
    click.echo(out)


def cells_of(spec: Spec, places: Sequence[Place]) -> Iterator[Cell]:
    """All trainings, table by table: each camera's first network comes before any second one."""
    tables = [(place, network) for place in places for network in place.camera.networks]
    for place, network in sorted(tables, key=lambda each: each[0].camera.networks.index(each[1])):
        for seed in range(max(len(spec.seeds_of(place.camera, noise)) for noise in spec.noises)):
            for noise in spec.noises:
                if seed in spec.seeds_of(place.camera, noise):
                    yield Cell(place, network, noise, seed, spec.training)


def each(pool: Pool, call: Any, arguments: Sequence[tuple[Any, ...]], progress: Progress) -> None:
    """Call a function with each of some arguments; the first error ends it."""
    futures = [pool.submit(call, *each) for each in arguments]
    for done, future in enumerate(as_completed(futures), 1):
        progress(done, len(futures), str(future.result()))


def prepare(place: Place) -> str:
    """Make a camera's data."""
    torch.set_num_threads(1)
    place.open().prepare()
    return place.camera.name


def fit_one(place: Place, noise: str, settings: FitSettings) -> str:
    """Fit a noise model."""
    torch.set_num_threads(1)
    fit_source(place.open(), noise, settings)
    return noise


def train_one(cell: Cell) -> str:
    """Train and score."""
    torch.set_num_threads(1)
    cell.record.parent.mkdir(exist_ok=True)
    facts = {"key": cell.key, "camera": cell.place.camera.name}
    record = run_cell(cell.place.open(), cell.network, cell.noise, cell.seed, cell.settings, cell.record, facts)
    return f"{cell.network} on {cell.noise}: {record['psnr']:.2f} dB"


if __name__ == "__main__":
    main()
