"""A simulated video camera with a fixed pattern and flicker, and the noise models fitted to its frames."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.fit.sequences.choose_parts import TemporalFit, fit_temporal
from noiseflow.fit.sequences.tiles import SequenceTiles, tiles_of
from noiseflow.flows.conditions import Conditions
from noiseflow.models import ModelSpec, TemporalNoise, build, load, save, temporal_spec

__all__ = ["INDEPENDENT", "OURS", "TRUE", "Burst", "VideoCamera", "burst_source", "fit_models"]

TRUE, OURS, INDEPENDENT = "true noise", "temporal", "independent frames"
"""Noises to train with."""

ISO = 100.0

Burst = Callable[[Tensor, int], Tensor]
"""Clean pictures (B, 1, h, w), normalised, a seed, to noisy bursts (B, T, h, w), in whole codes."""


@dataclass(frozen=True)
class VideoCamera:
    """Photons, read noise, offset and gain of each pixel that stay, light that flickers, and rounding.

    Parameters
    ----------
    gain : float
        Conversion gain, DN/e⁻.
    read, dsnu : float
        σ of read noise and of the pixels' offsets, e⁻.
    prnu, flicker : float
        σ of the pixels' gains and of the light, of 1.
    phi : float
        Correlation of the light from one frame to the next.
    black, white : float
        Levels, DN.
    """

    gain: float = 2.0
    read: float = 4.0
    dsnu: float = 4.0
    prnu: float = 0.02
    flicker: float = 0.03
    phi: float = 0.7
    black: float = 256.0
    white: float = 4095.0

    @property
    def span(self) -> float:
        """White less black, DN."""
        return self.white - self.black

    def expose(self, clean: NDArray[np.float64], frames: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Bursts (B, T, h, w) of still scenes (B, h, w), normalised, each with its own part of the sensor."""
        electrons = np.maximum(clean, 0) * self.span / self.gain
        offset = self.dsnu * rng.standard_normal(clean.shape)
        response = 1 + self.prnu * rng.standard_normal(clean.shape)
        light = rng.standard_normal((len(clean), 1, 1))
        found = []
        for number in range(frames):
            if number:
                light = self.phi * light + (1 - self.phi**2) ** 0.5 * rng.standard_normal(light.shape)
            rate = np.maximum(electrons * response * (1 + self.flicker * light), 0)
            codes = self.gain * (rng.poisson(rate) + offset + self.read * rng.standard_normal(clean.shape))
            found.append(self.quantised(codes / self.span))
        return np.stack(found, 1)

    def quantised(self, signal: NDArray[np.float64]) -> NDArray[np.float32]:
        """Rounded to whole codes and clipped to [0, white]."""
        codes = np.clip(np.rint(signal * self.span + self.black), 0, self.white)
        return ((codes - self.black) / self.span).astype(np.float32)

    def series(self, levels: tuple[float, ...], frames: int, side: int) -> list[SequenceTiles]:
        """Frames of darks and flats at some levels, e⁻, of one sensor: what the models are fitted to."""
        found = []
        for number, level in enumerate(levels):
            # The seed's first numbers are those of the sensor.
            rng = np.random.default_rng((9, number))
            clean = np.full((1, side, side), level * self.gain / self.span)
            burst = self.expose(clean, frames, rng)[0]
            planes = (frame[None] for frame in burst)
            facts = {"iso": ISO, "camera": "video", "source": f"{level:g} e⁻"}
            found.append(tiles_of(planes, scene="flat", **facts))  # type: ignore[arg-type]
        return found


def fit_models(camera: VideoCamera, folder: Path) -> TemporalNoise:
    """The temporal model of a camera, around an `nlf`, in a run folder; what is there is not fitted again."""
    if not (folder / "spec.json").exists():
        sequences = camera.series((0.0, 10.0, 40.0), frames=16, side=64)
        save(fitted(sequences).model, folder)
    model = load(folder)
    assert isinstance(model, TemporalNoise)
    return model.eval()


def fitted(sequences: list[SequenceTiles]) -> TemporalFit:
    """An `nlf` by maximum likelihood to single frames, then the memory around it, its parts chosen by the data."""
    frame = build(ModelSpec("nlf", "mono", ("video",), (ISO,)))
    search = torch.optim.LBFGS(frame.parameters(), max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        total = torch.zeros(())
        for tiles in sequences:
            noise = tiles.noise.flatten(0, 1)
            clean = tiles.clean.expand(-1, tiles.frames, -1, -1, -1).flatten(0, 1)
            total = total - frame.log_prob(noise, Conditions(clean, ISO)).mean() / noise[0].numel()
        total.backward()  # type: ignore[no-untyped-call]
        return total.detach()

    search.step(loss)  # type: ignore[no-untyped-call]
    return fit_temporal(frame.eval(), sequences)


def burst_source(camera: VideoCamera, noise: str, frames: int, model: TemporalNoise) -> Burst:
    """What makes bursts of clean pictures with the noise of that name."""
    if noise == TRUE:

        def true(clean: Tensor, seed: int) -> Tensor:
            return torch.from_numpy(camera.expose(clean[:, 0].double().numpy(), frames, np.random.default_rng(seed)))

        return true
    if noise == INDEPENDENT:
        without = build(temporal_spec(model.frame.spec, ()))
        assert isinstance(without, TemporalNoise)
        without.frame.load_state_dict(model.frame.state_dict())
        model = without.eval()

    def modelled(clean: Tensor, seed: int) -> Tensor:
        still = clean[:, None].expand(-1, frames, -1, -1, -1)
        noisy = still + model.sample_sequence(still, ISO, 0, torch.Generator().manual_seed(seed))
        return torch.from_numpy(camera.quantised(noisy[:, :, 0].double().numpy()))

    return modelled
