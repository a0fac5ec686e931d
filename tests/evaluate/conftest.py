"""A camera of exactly known noise, stores of it, and models of it with and without faults."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.flows.conditions import Conditions
from noiseflow.models.model import ModelSpec, NoiseModel
from noiseflow.patches.assembly.writer import StoreWriter
from noiseflow.patches.schema import SPLITS, fields
from noiseflow.patches.store.store import PatchStore

SIZE, WHITE = 16, 4200.0
BLACK = (100.0, 150.0, 200.0, 250.0)
GAIN, READ = 0.5, 8.0

Noise = Callable[[tuple[int, ...], np.random.Generator], NDArray[np.float64]]


def white(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Independent Gaussian pixels of unit variance."""
    return rng.normal(size=shape)


def with_rows(strength: float) -> Noise:
    """White noise plus row noise of `strength` times its σ, brought to unit variance."""

    def draw(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        noise = rng.normal(size=shape) + strength * rng.normal(size=(*shape[:-1], 1))
        return noise / np.sqrt(1 + strength**2)

    return draw


def skewed(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Gamma noise of shape 6, zero mean, unit variance: skewness 2/√6 = 0.82."""
    return (rng.gamma(6.0, size=shape) - 6) / np.sqrt(6)


def heavy_tailed(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Student's t with 5 degrees of freedom, brought to unit variance: 20 times as many beyond 4 σ as Gaussian."""
    return rng.standard_t(5, size=shape) / np.sqrt(5 / 3)


def smoothed(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """White noise plus 0.2 times its left neighbour, brought to unit variance: correlation 0.19 across columns."""
    white = rng.normal(size=(*shape[:-1], shape[-1] + 1))
    return (white[..., 1:] + 0.2 * white[..., :-1]) / np.sqrt(1.04)


def unsteady(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """White noise whose σ is 8 % too high in half of the patches, too low in the others: of unit variance in all."""
    strength = np.where(rng.random((shape[0], 1, 1, 1)) < 0.5, 1.08, 0.92)
    return rng.normal(size=shape) * strength / np.sqrt((1.08**2 + 0.92**2) / 2)


def by_plane(*sigmas: float) -> Noise:
    """White noise of another σ in each plane."""

    def draw(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        return rng.normal(size=shape) * np.array(sigmas)[:, None, None]

    return draw


def sigma_dn(signal: NDArray[np.float64], iso: float) -> NDArray[np.float64]:
    """√(K·signal + σ²) in DN, all times √(ISO/100)."""
    return np.sqrt(iso / 100 * (GAIN * np.maximum(signal, 0) + READ**2))


class Camera(NoiseModel):
    """The camera's own density, or one with a fault in its samples or its scale.

    Options: ``factor`` on the variance of density and samples; ``sign`` of the samples;
    ``step`` of the codes that samples are rounded to, 0 for none.
    """

    noise: Noise = staticmethod(white)

    @property
    def factor(self) -> float:
        return float(self.spec.options.get("factor", 1.0))

    def sigma(self, cond: Conditions) -> Tensor:
        scale = torch.tensor(WHITE - np.array(BLACK), dtype=torch.float64)[None, :, None, None]
        variance = GAIN * cond.clean.double().clamp(min=0) * scale + READ**2
        return (variance * self.factor * cond.iso.double()[:, None, None, None] / 100).sqrt() / scale

    def _log_prob(self, noise: Tensor, cond: Conditions) -> Tensor:
        return torch.distributions.Normal(0.0, self.sigma(cond)).log_prob(noise.double()).sum((1, 2, 3))

    def _sample(self, cond: Conditions, generator: torch.Generator | None, temperature: float) -> Tensor:
        assert generator is not None
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        drawn = torch.from_numpy(self.noise(tuple(cond.clean.shape), rng))
        noise = self.sigma(cond) * temperature * float(self.spec.options.get("sign", 1.0)) * drawn
        step = float(self.spec.options.get("step", 0.0))
        if not step:
            return noise
        black = torch.tensor(BLACK, dtype=torch.float64)[None, :, None, None]
        scale, clean = WHITE - black, cond.clean.double()
        return (((clean + noise) * scale + black) / step).round() * step / scale - black / scale - clean


@dataclass(frozen=True)
class Workshop:
    """Makes stores and models for a test."""

    folder: Path
    white = staticmethod(white)
    skewed = staticmethod(skewed)
    with_rows = staticmethod(with_rows)
    heavy_tailed = staticmethod(heavy_tailed)
    smoothed = staticmethod(smoothed)
    unsteady = staticmethod(unsteady)
    by_plane = staticmethod(by_plane)
    sigma_dn = staticmethod(sigma_dn)
    black, white_level, size = BLACK, WHITE, SIZE

    def store(
        self,
        *,
        noise: Noise = white,
        patches: int = 400,
        groups: int = 20,
        seed: int = 0,
        isos: tuple[float, ...] = (100.0,),
        cameras: tuple[str, ...] = ("One",),
        split: str = "test",
        name: str = "patches.h5",
        clean_variance: float = 0.0,
        signal: tuple[float, float] = (30.0, 2500.0),
        ramp: float = 0.1,
        step: int = 1,
        frames: int = 2,
    ) -> PatchStore:
        """A store whose frame g holds the patches g, g + groups, …; ISO and camera go by frame.

        Mean signals rise from patch to patch of a frame, so that every bin of signal is in
        every frame; within a patch the signal rises by ± `ramp` of it.  Codes are multiples of `step`.
        """
        rng = np.random.default_rng(seed)
        black = np.array(BLACK)[None, :, None, None]
        number = np.arange(patches)
        group = number % groups
        level = np.linspace(*np.sqrt(signal), max(patches // groups, 1))[number // groups] ** 2
        within = 1 + ramp * np.linspace(-1, 1, SIZE * SIZE).reshape(SIZE, SIZE)
        clean = level[:, None, None, None] * np.broadcast_to(within, (patches, 4, SIZE, SIZE))
        iso = np.array(isos)[group % len(isos)]
        sigma = np.stack([sigma_dn(*each) for each in zip(clean, iso, strict=True)])
        drawn = noise(clean.shape, rng) * sigma * np.sqrt(1 + clean_variance)
        with StoreWriter(self.folder / name, layout="bayer", patch_size=SIZE, pairing="gt", provenance={}) as writer:
            table = np.zeros(patches, fields(4))
            table["camera"] = [writer.label("cameras", cameras[index % len(cameras)]) for index in group]
            table["iso"], table["black"], table["white"] = iso, BLACK, WHITE
            table["scene"] = [writer.label("scenes", f"scene {index // frames}") for index in group]
            table["frame"], table["y"] = group % frames, SIZE * (number // groups)
            table["source"] = [writer.label("sources", f"frame {index}") for index in group]
            table["split"], table["clean_variance"] = SPLITS.index(split), clean_variance
            noisy = np.rint(np.maximum(clean + drawn + black, 0) / step) * step
            writer.append(noisy, clean + black, table)
        return PatchStore(self.folder / name)

    @staticmethod
    def model(
        *,
        noise: Noise = white,
        cameras: tuple[str, ...] = ("One",),
        isos: tuple[float, ...] = (100.0,),
        layout: str = "bayer",
        **options: float,
    ) -> Camera:
        """The camera's density; `noise` and `options` plant faults."""
        model = Camera(ModelSpec("camera", layout, cameras, isos, options))
        model.noise = noise  # type: ignore[method-assign]
        return model


@pytest.fixture(scope="session")
def shared_workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Makes stores and models that several tests look at."""
    return Workshop(tmp_path_factory.mktemp("evaluate"))


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """Makes stores and models in the test's own folder."""
    return Workshop(tmp_path)
