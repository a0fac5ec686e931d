"""Continuous against discretised likelihood where a code is coarse: read noise of 0.3 to 1 DN.

python -m tools.studies.coarse_codes --read 0.3 --read 1
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch

from noiseflow.fit import FitSettings, fit, spec_for
from noiseflow.fit.discretised_objective import codes_of
from noiseflow.models.integers.discrete_log_prob import discrete_log_prob
from noiseflow.models.model import NoiseModel
from noiseflow.models.oracle.select import oracle_from_truth
from noiseflow.patches.assembly.writer import StoreWriter
from noiseflow.patches.schema import SPLITS, fields
from noiseflow.patches.store.store import PatchStore
from noiseflow.simulate import CameraPhysics, IsoPhysics, expose, truth_of

SIZE, ISO, GAIN, BLACK, WHITE = 16, 100.0, 0.1, 64.0, 1023.0


@dataclass(frozen=True)
class Row:
    """NLL of one model, nats/pixel in DN, and what its discretised one is."""

    continuous: float
    codes: float
    kind: str


@click.command()
@click.option("--read", "reads", type=float, multiple=True, default=(0.3, 1.0), show_default=True, help="σ, DN.")
@click.option("--model", "models", multiple=True, default=("gaussian", "nlf", "noise_flow", "physics_flow"))
@click.option("--patches", type=int, default=600, show_default=True, help="Of 4 planes of 16 × 16.")
@click.option("--epochs", type=int, default=8, show_default=True)
@click.option("--steps", type=int, default=40, show_default=True, help="An epoch.")
@click.option("--brightest", type=float, default=8.0, show_default=True, help="Signal, DN above black.")
def main(
    reads: tuple[float, ...], models: tuple[str, ...], patches: int, epochs: int, steps: int, brightest: float
) -> None:
    """Fit models to a made-up camera by both objectives and print a table of both likelihoods."""
    with tempfile.TemporaryDirectory() as folder:
        for read in reads:
            path = Path(folder) / f"{read:g}.h5"
            make(path, read, patches, brightest)
            with PatchStore(path) as store:
                click.echo(f"\nRead noise {read:g} DN, K {GAIN:g} DN/e⁻, signals 0 to {brightest:g} DN\n")
                click.echo("| model | fitted by | NLL continuous | NLL of the codes | | behind the oracle |")
                click.echo("|---|---|---|---|---|---|")
                oracle = oracle_from_truth(store.truth, store.layout, store.cameras, store.isos)
                assert oracle is not None
                truth = score(oracle, store)
                click.echo(line("oracle", "–", truth, truth))
                for objective in ("continuous", "discretised"):
                    settings = FitSettings(epochs=epochs, steps_per_epoch=steps, batch=32, objective=objective)
                    for model in models:
                        out = Path(folder) / f"{read:g}-{model}-{objective}"
                        fitted = fit(store, spec_for(store, model), out, settings).model
                        click.echo(line(model, objective, score(fitted, store), truth))


def make(path: Path, read: float, patches: int, brightest: float) -> None:
    """A store of a Poisson–Gaussian camera, rounded and clipped, with its truth."""
    physics = CameraPhysics("Coarse", "RGGB", BLACK, WHITE, "gaussian", {ISO: IsoPhysics(GAIN, read)})
    rng = np.random.default_rng(0)
    truth: Mapping[str, object] = truth_of(physics, [ISO])
    with StoreWriter(path, layout="bayer", patch_size=SIZE, pairing="gt", provenance={}, truth=truth) as writer:
        for number in range(patches):
            level = brightest * rng.uniform() ** 2
            slope = np.linspace(0.8, 1.2, SIZE * SIZE).reshape(SIZE, SIZE)
            clean = np.broadcast_to(level * slope, (1, 4, SIZE, SIZE))
            noisy = expose(clean.reshape(-1, SIZE), physics, ISO, rng).reshape(clean.shape)
            table = np.zeros(1, fields(4))
            table["camera"], table["iso"] = writer.label("cameras", next(iter(truth))), ISO
            table["scene"], table["source"] = writer.label("scenes", f"{number % 20}"), writer.label("sources", "made")
            table["split"] = SPLITS.index(("train", "train", "train", "val", "test")[number % 20 // 4])
            table["black"], table["white"] = BLACK, WHITE
            writer.append(noisy, clean + BLACK, table)


@torch.no_grad()
def score(model: NoiseModel, store: PatchStore) -> Row:
    """Both likelihoods of the held-out patches."""
    batch = store.read(store.indices("test"))
    codes, cond, levels = codes_of(batch)
    found = discrete_log_prob(model, codes, cond, levels, generator=torch.Generator().manual_seed(0))
    pixels = codes.numel()
    continuous = -float(model.log_prob(batch.noise, cond).double().sum()) / pixels - float(levels.log_code().mean())
    return Row(continuous, -float(found.values.sum()) / pixels, found.words)


def line(name: str, objective: str, row: Row, truth: Row) -> str:
    """A row of the table."""
    mark = "" if row.kind == "exact" else "≤ "
    gap = row.codes - truth.codes
    return (
        f"| {name} | {objective} | {row.continuous:.4f} | {mark}{row.codes:.4f} | {row.kind} | "
        f"{mark}{gap:+.4f} (continuous {row.continuous - truth.continuous:+.4f}) |"
    )


if __name__ == "__main__":
    main()
