"""What augmentation costs beside a training step of a denoiser, in one run.

python -m tools.workloads.augment

A step of DnCNN (17 layers of 64 planes, as published) on packed planes: forward, backward, Adam.  Its batch
of clean patches gets noise by `AddCameraNoise` from the models named; done when each costs less
than a quarter of the step.
"""

import statistics
import time
from collections.abc import Callable

import click
import torch

from noiseflow.augment import AddCameraNoise
from noiseflow.calibrate.profiles.published import shipped_profile
from noiseflow.models import ModelSpec, NoiseModel, build, from_profile
from tools.denoising.networks import DnCNN

MOST = 0.25
"""Most that augmentation may cost, of a training step."""

PHYSICS = ("poisson_gaussian", "poisson_gaussian_exact", "eld")
OTHERS = ("gaussian", "nlf", "noise_flow", "physics_flow", "realnvp", "glow", "iaf")


def model_of(name: str) -> NoiseModel:
    """A model of its default size."""
    if name in PHYSICS:
        return from_profile(name, shipped_profile("Sony A7S2"))
    return build(ModelSpec(name, "bayer", ("A", "B"), (100.0, 400.0, 1600.0))).eval()


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median of `repeats` calls after one that warms up."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


@click.command()
@click.option("--batch", type=int, default=16, show_default=True)
@click.option("--patch", type=int, default=32, show_default=True, help="Side in pixels of a plane; 2× on the sensor.")
@click.option("--threads", type=int, default=2, show_default=True)
@click.option("--repeats", type=int, default=7, show_default=True)
@click.option("--width", type=int, default=64, show_default=True, help="Of the DnCNN.")
@click.option("--depth", type=int, default=17, show_default=True, help="Of the DnCNN.")
def main(batch: int, patch: int, threads: int, repeats: int, width: int, depth: int) -> None:
    """Print the cost of a training step and of augmenting its batch; status 1 if a model costs too much."""
    torch.set_num_threads(threads)
    clean = torch.rand(batch, 4, patch, patch)
    network = DnCNN(4, width, depth).train()
    optimizer = torch.optim.Adam(network.parameters())

    def step() -> None:
        optimizer.zero_grad()
        (network(clean) - clean).square().mean().backward()
        optimizer.step()

    whole = seconds(step, repeats)
    click.echo(
        f"DnCNN {depth}×{width}, batch {batch}×4×{patch}×{patch}, {threads} threads: {1e3 * whole:.1f} ms a step"
    )
    worst = 0.0
    for name in (*OTHERS, *PHYSICS):
        add_noise = AddCameraNoise(model_of(name))
        generator = torch.Generator().manual_seed(0)
        drawn = seconds(lambda add=add_noise, g=generator: add(clean, generator=g), repeats)  # type: ignore[misc]
        keyed = seconds(lambda add=add_noise: add(clean, list(range(batch))), repeats)  # type: ignore[misc]
        worst = max(worst, drawn / whole, keyed / whole)
        click.echo(
            f"{name:24} {1e3 * drawn:7.1f} ms ({drawn / whole:6.1%}); "
            f"by index {1e3 * keyed:7.1f} ms ({keyed / whole:6.1%})"
        )
    if worst >= MOST:
        raise SystemExit(f"augmentation costs {worst:.0%} of a training step; expected less than {MOST:.0%}")


if __name__ == "__main__":
    main()
