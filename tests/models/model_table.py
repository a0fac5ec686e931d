"""The models that the contract walks: every registered name, in every layout that it can have."""

from dataclasses import replace

import torch

from noiseflow.models import MODELS, ModelSpec, NoiseModel, NoiseStatistics, build
from noiseflow.models.noise_statistics import signal_bins

CAMERAS = ("A", "B", "C")
ISOS = (100.0, 400.0, 1600.0)
NEEDS_TWO_PLANES = {"noise_flow"}
NEEDS_PROFILE = {"poisson_gaussian", "poisson_gaussian_exact", "eld", "dark_frame", "spectral"}
"""Physics: built from a camera's profile, tested in test_physics."""
NEEDS_FRAME = {"temporal"}
"""Built around a frame's model, and of sequences: tested in temporal/."""
TRAINED = sorted(set(MODELS) - NEEDS_PROFILE - NEEDS_FRAME)

CELLS_OF_FOUR = ("bayer", "mono2x2")
"""Layouts of all models here; those of larger cells are in test_large_cells."""

MODEL_CASES = [(name, layout) for name in TRAINED for layout in CELLS_OF_FOUR] + [
    (name, "mono") for name in TRAINED if name not in NEEDS_TWO_PLANES
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spec_of(name: str, layout: str, isos: tuple[float, ...] = ISOS) -> ModelSpec:
    return ModelSpec(name, layout, CAMERAS, isos)


def known(name: str, options: dict[str, object]) -> dict[str, object]:
    """Those of some options that a model has."""
    return {option: value for option, value in options.items() if option in MODELS[name].options}


def randomised_model(name: str, layout: str, seed: int = 1, spread: float = 0.1, **options: object) -> NoiseModel:
    """In float64 and evaluation mode, every parameter moved by N(0, spread²)."""
    model = build(replace(spec_of(name, layout), options=options)).double().eval()
    draw = generator(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += spread * torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype)
    return model


def statistics_of(noise: torch.Tensor, clean: torch.Tensor, bins: int = 32) -> NoiseStatistics:
    """Statistics of noise of camera A at the first ISO, and the same for all others."""
    index = signal_bins(clean, bins).flatten()
    count = torch.bincount(index, minlength=bins).double()
    sums = [torch.bincount(index, v.flatten().double(), minlength=bins) / count for v in (clean, noise, noise.square())]
    seen = count > 0
    cells = len(CAMERAS) * len(ISOS)
    mean_clean, mean, square = (value[seen].repeat(cells) for value in sums)
    each = torch.arange(cells).repeat_interleave(int(seen.sum()))
    return NoiseStatistics(
        camera=each // len(ISOS),
        iso_index=each % len(ISOS),
        count=count[seen].repeat(cells),
        clean=mean_clean,
        mean=mean,
        square=square,
        cameras=CAMERAS,
        isos=ISOS,
    )
