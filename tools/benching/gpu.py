"""Absolute figures of a GPU: rates, bytes moved over time, and how far its numbers are from a CPU's."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from noiseflow.models import NoiseModel
from noiseflow.ops.random.sampling import Keyed
from tools.benching.machine import Machine, Moved, machine
from tools.benching.page import table
from tools.benching.subjects import Point, built, inputs_of, work
from tools.benching.timing import best_by_turns

__all__ = ["BATCHES", "NAMES", "GpuRow", "gpu_page", "gpu_rows"]

BATCHES = (138, 512, 2048, 8192)

NAMES = ("noise_flow, eager", "physics_flow, eager")
"""The kernels in C++ are a CPU's: a GPU takes PyTorch's operations."""

ALLOWED = 1e-4
"""Nats/dim of the densities, and standard deviations of the samples, by which a GPU may differ."""


@dataclass(frozen=True)
class GpuRow:
    """One model at one batch.

    Parameters
    ----------
    name : str
        Name of the model.
    batch : int
        Patches in a batch.
    patches_s : float
        Trained.
    pixels_s : float
        Sampled.
    bytes_s : float
        Read and written by the operations of sampling.
    copied : float
        Part of the bandwidth of a copy that this is.
    difference : float
        From the CPU: the larger one of densities, nats/dim, and samples, σ.
    """

    name: str
    batch: int
    patches_s: float
    pixels_s: float
    bytes_s: float
    copied: float
    difference: float


def gpu_rows(
    device: str, batches: Sequence[int], names: Sequence[str] = NAMES, side: int = 32, can: Machine | None = None
) -> list[GpuRow]:
    """Measure models at batches; the CPU checks the first of them."""
    can = can or machine(device, 8192, 1024)
    rows = []
    for name in names:
        difference = apart(name, Point(batches[0], side), device)
        for batch in batches:
            point = Point(batch, side)
            each = work(name, point, device)
            assert each.training is not None
            seconds = best_by_turns({"training": each.training, "sampling": each.sampling}, device)
            with Moved() as moved:
                each.sampling()
            rate = moved.bytes / seconds["sampling"]
            rows.append(
                GpuRow(
                    name.split(",")[0],
                    batch,
                    batch / seconds["training"],
                    point.pixels / seconds["sampling"],
                    rate,
                    rate / can.copied_bytes_s,
                    difference,
                )
            )
    return rows


@torch.no_grad()
def apart(name: str, point: Point, device: str) -> float:
    """How far densities (nats/dim) and samples (σ) on a device are from those of the CPU, at the most."""
    model = built(name, point).eval()
    assert isinstance(model, NoiseModel)
    source, figures, samples = Keyed(1, tuple(range(point.batch))), [], []
    for place in ("cpu", device):
        model.to(place)
        noise, cond = inputs_of(point, place)
        figures.append(model(noise, cond).cpu() / noise[0].numel())
        samples.append(model.sample(cond, source).cpu())
    densities = (figures[1] - figures[0]).abs().max()
    return float(torch.maximum(densities, (samples[1] - samples[0]).abs().max() / samples[0].std()))


def gpu_page(rows: Sequence[GpuRow], device: str) -> str:
    """What was found, as Markdown."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else device
    columns = ("model", "batch", "trained patches/s", "sampled Mpix/s", "moved GB/s", "of a copy's", "from the CPU")
    cells = [
        (
            f"`{row.name}`",
            f"{row.batch:,}",
            f"{row.patches_s:,.0f}",
            f"{row.pixels_s / 1e6:,.0f}",
            f"{row.bytes_s / 1e9:,.0f}",
            f"{row.copied:.0%}",
            f"{row.difference:.0e}",
        )
        for row in rows
    ]
    least, most = min(row.copied for row in rows), max(row.difference for row in rows)
    sentence = (
        f"On {name}, with torch {torch.__version__} "
        f"(`python -m tools.bench --device {device} --page docs/performance.md`). "
        "*Moved* are the bytes that the operations of a sampling pass read and write, over its time. The target: half "
        f"of a copy's bandwidth: the least is {least:.0%}; and the CPU's numbers to {ALLOWED:.0e}: "
        f"{'reached' if most <= ALLOWED else 'not reached'}."
    )
    return f"{sentence}\n\n{table(columns, cells)}"
