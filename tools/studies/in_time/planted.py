"""Simulated cameras with one part of a memory each: how far a fit is from the truth, and what independent frames lose.

The frame model, an `nlf`, and the parts are fitted to darks and flats.  New frames of other pixels are scored, in
nats/dim: the truth minus the fit, and the truth minus the true frame model without a memory.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from noiseflow.evaluate.statistics.intervals import VERDICT, Interval, ratio_of_sums
from noiseflow.fit.sequences.choose_parts import fit_temporal
from noiseflow.fit.sequences.tiles import SequenceTiles
from noiseflow.flows.conditions import Conditions
from noiseflow.models import ModelSpec, TemporalNoise, build, temporal_spec
from noiseflow.models.closed_form.nlf import NoiseLevelFunction

__all__ = ["CAMERAS", "Camera", "Row", "measure", "measured", "table"]

BLOCKS, FLOW = "block_flow", "conditional_flow"

ISO = 100.0
LEVELS = (0.0, 0.5)
"""Signals of the darks and the flats, normalised."""

TILES, FRAMES, SIDE = 24, 12, 24
"""Tiles of each level to fit to, and as many to score; frames; side of a tile in pixels."""

BETA1, BETA2 = 1e-4, 4e-4
"""Variance of the frame's noise: β₁·signal + β₂."""

STRONG: Mapping[str, Mapping[str, float]] = {
    "dark_pattern": {"log_sigma": math.log(6e-3)},
    "response_pattern": {"log_sigma": math.log(1.5e-2)},
    "black_drift": {"log_sigma": math.log(6e-3), "memory_of": 1.0},
    "light_flicker": {"log_sigma": math.log(2e-2), "memory_of": 0.5},
    "telegraph": {"log_amplitude": math.log(4e-2), "logit_fraction": -2.0, "logit_up": -2.0, "logit_down": -1.0},
}
"""Values of the planted parts."""

Camera = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""Signals (B,) and a seed → noise (B, T, 1, h, w) and its log-density given the past minus that of the frame, (B,)."""


def truth(parts: tuple[str, ...]) -> TemporalNoise:
    """The true model with these parts."""
    model = build(temporal_spec(ModelSpec("nlf", "mono", ("simulated",), (ISO,)), parts))
    assert isinstance(model, TemporalNoise)
    assert isinstance(model.frame, NoiseLevelFunction)
    with torch.no_grad():
        model.frame.log_beta1.fill_(math.log(BETA1))
        model.frame.log_beta2.fill_(math.log(BETA2))
        for name, part in model.parts.items():
            for parameter, value in STRONG[name].items():
                getattr(part, parameter).fill_(value)
    return model.requires_grad_(False).eval()


def of_parts(*parts: str) -> Camera:
    """A camera that is a `TemporalNoise` with these parts."""
    model = truth(parts)

    def camera(signal: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        clean = signal[:, None, None, None, None].expand(-1, FRAMES, 1, SIDE, SIDE)
        noise = model.sample_sequence(clean, ISO, source=torch.Generator().manual_seed(seed))
        return noise, (model.log_prob_of_sequence(noise, clean[:, :1], ISO) - alone(model, noise, signal)).sum(1)

    return camera


Law = Callable[[Tensor | None], tuple[Tensor, Tensor]]
"""Last innovations w, (B, 1, h, w) or None → mean and variance of the next ones."""


def of_law(law: Law) -> Camera:
    """A camera whose latents, noise over σ, have a given law given the last frame."""

    def camera(signal: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng(seed)
        sigma = (BETA1 * signal + BETA2).sqrt()[:, None, None, None]
        w: Tensor | None = None
        found, gain = [], torch.zeros(len(signal), dtype=torch.float64)
        for _ in range(FRAMES):
            fresh = torch.from_numpy(rng.standard_normal((len(signal), 1, SIDE, SIDE)))
            mean, variance = (torch.zeros(()), torch.ones(())) if w is None else law(w)
            w = mean + variance.sqrt() * fresh
            gain += 0.5 * (w.square() - fresh.square() - variance.log()).flatten(1).sum(1)
            found.append((w * sigma).float())
        return torch.stack(found, 1), gain

    return camera


def bursts_of_noise(w: Tensor | None) -> tuple[Tensor, Tensor]:
    """ARCH(1): a large value makes the next one uncertain."""
    assert w is not None
    return torch.zeros_like(w), 0.5 + 0.5 * w.square()


def lag(w: Tensor | None) -> tuple[Tensor, Tensor]:
    """Image lag that saturates."""
    assert w is not None
    return 0.6 * torch.tanh(2 * w), torch.full_like(w, 0.8)


def regions(signal: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """A camera whose means of 8×8 pixels follow an autoregression over frames, φ = 0.9; each frame alone is white."""
    rng = np.random.default_rng(seed)
    sigma = (BETA1 * signal + BETA2).sqrt()[:, None, None, None, None]
    left = 1 - 0.9**2
    gain, frames = np.zeros(len(signal)), []
    before = np.zeros(())
    for number in range(FRAMES):
        w = rng.standard_normal((len(signal), 1, SIDE // 8, 8, SIDE // 8, 8))
        fresh = 8 * w.mean((3, 5), keepdims=True)
        value = fresh
        if number:
            value = 0.9 * before + left**0.5 * fresh
            gain += 0.5 * (value**2 - fresh**2 - math.log(left)).reshape(len(signal), -1).sum(1)
        before = value
        frames.append((w + (value - fresh) / 8).reshape(len(signal), 1, SIDE, SIDE))
    return (torch.from_numpy(np.stack(frames, 1)) * sigma).float(), torch.from_numpy(gain)


def glow(signal: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """A camera with a smooth glow that drifts: a normal field with a range of 8 pixels, σ = 0.2 of a pixel's, φ = 0.95.

    Its density is exact: the eigenvectors of the field's covariance in space are independent sequences.
    """
    rng = np.random.default_rng(seed)
    sigma = (BETA1 * signal + BETA2).sqrt()[:, None, None, None, None]
    at = np.arange(SIDE)
    line = np.exp(-0.5 * ((at[:, None] - at) / 8.0) ** 2) + 1e-9 * np.eye(SIDE)
    root = np.linalg.cholesky(line)
    values, vectors = np.linalg.eigh(line)
    power = 0.04 * np.outer(values, values).clip(min=0)
    x = np.zeros(())
    frames = []
    for number in range(FRAMES):
        fresh = root @ rng.standard_normal((len(signal), 1, SIDE, SIDE)) @ root.T
        x = fresh if number == 0 else 0.95 * x + (1 - 0.95**2) ** 0.5 * fresh
        frames.append(0.2 * x + rng.standard_normal(x.shape))
    w = np.stack(frames, 1)
    parts = vectors.T @ w @ vectors
    steps = np.arange(FRAMES)
    phi = 0.95 ** np.abs(steps[:, None] - steps)
    gain = np.zeros(len(signal))
    for row in range(SIDE):
        for column in range(SIDE):
            covariance = np.eye(FRAMES) + power[row, column] * phi
            each = parts[:, :, 0, row, column]
            gain += 0.5 * ((each**2).sum(1) - (each * np.linalg.solve(covariance, each.T).T).sum(1))
            gain -= 0.5 * np.linalg.slogdet(covariance)[1]
    return (torch.from_numpy(w) * sigma).float(), torch.from_numpy(gain)


CAMERAS: Mapping[str, Camera] = {
    "nothing": of_parts(),
    **{name: of_parts(name) for name in STRONG},
    "all five": of_parts(*STRONG),
    "noise in bursts (ARCH)": of_law(bursts_of_noise),
    "non-linear image lag": of_law(lag),
    "blocks that drift": regions,
    "a glow that drifts": glow,
}


@dataclass(frozen=True, eq=False)
class Row:
    """What came out for one camera, nats/dim over `FRAMES` frames.

    Parameters
    ----------
    name : str
        What was planted.
    parts : tuple of str
        What the fit kept.
    gap, lost : Interval
        Truth minus fit, and truth minus independent frames.
    one_level : Interval, optional
        Truth minus a fit without blocks, if the fit kept a law of blocks.
    """

    name: str
    parts: tuple[str, ...]
    gap: Interval
    lost: Interval
    one_level: Interval | None


def alone(model: TemporalNoise, noise: Tensor, signal: Tensor) -> Tensor:
    """Log-density of each frame by the frame model, nats, (B, T)."""
    clean = signal[:, None, None, None].expand(noise[:, 0].shape)
    frames = noise.unbind(1)
    return torch.stack([model.frame.log_prob(each, Conditions(clean, ISO)).double() for each in frames], 1)


def frame_model(sequences: list[SequenceTiles]) -> NoiseLevelFunction:
    """An `nlf` by maximum likelihood to single frames less their mean, as `fit` takes the light of each frame out."""
    frame = build(ModelSpec("nlf", "mono", ("simulated",), (ISO,)))
    assert isinstance(frame, NoiseLevelFunction)
    search = torch.optim.LBFGS(frame.parameters(), max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        total = torch.zeros(())
        for tiles in sequences:
            clean = tiles.clean.expand_as(tiles.noise).flatten(0, 1)
            noise = tiles.noise - tiles.noise.mean((2, 3, 4), keepdim=True)
            noise = noise * (SIDE**2 / (SIDE**2 - 1)) ** 0.5
            total = total - frame.log_prob(noise.flatten(0, 1), Conditions(clean, ISO)).mean() / SIDE**2
        total.backward()  # type: ignore[no-untyped-call]
        return total.detach()

    search.step(loss)  # type: ignore[no-untyped-call]
    return frame.eval()


def measure(name: str, camera: Camera, seed: int = 0) -> Row:
    """Fit to one camera, and score new frames of it."""
    signals = [torch.full((2 * TILES,), level) for level in LEVELS]
    made = [camera(signal, 1000 * seed + number) for number, signal in enumerate(signals)]
    sequences = [
        SequenceTiles(
            noise[:TILES],
            torch.full((TILES, 1, 1, SIDE, SIDE), level),
            ISO,
            "simulated",
            f"{name} at {level:g}",
            "flat",
        )
        for level, (noise, _) in zip(LEVELS, made, strict=True)
    ]
    frame = frame_model(sequences)
    model = fit_temporal(frame, sequences).model
    models = {"fit": model}
    if BLOCKS in model.parts:
        fewer = [part for part in model.parts if part != BLOCKS]
        models["one level"] = fit_temporal(frame, sequences, [*fewer, *{FLOW} - {*fewer}]).model
    best, independent = [], []
    ours: dict[str, list[Tensor]] = {each: [] for each in models}
    with torch.no_grad():
        for signal, (noise, gain) in zip(signals, made, strict=True):
            new, level = noise[TILES:], signal[TILES:]
            clean = level[:, None, None, None, None].expand(-1, 1, 1, SIDE, SIDE)
            independent.append(alone(truth(()), new, level).sum(1))
            best.append(independent[-1] + gain[TILES:])
            for each, fitted in models.items():
                ours[each].append(fitted.log_prob_of_sequence(new, clean, ISO).sum(1))
    of_truth = torch.cat(best).numpy()
    dims = np.full(len(of_truth), float(FRAMES * SIDE**2))

    def behind(other: list[Tensor]) -> Interval:
        return ratio_of_sums(numerator=of_truth - torch.cat(other).numpy(), denominator=dims, level=VERDICT)

    one_level = behind(ours["one level"]) if "one level" in ours else None
    return Row(name, tuple(model.parts), behind(ours["fit"]), behind(independent), one_level)


def measured(only: tuple[str, ...] = ()) -> Iterator[Row]:
    """Each of `CAMERAS`, one after the other."""
    for name, camera in CAMERAS.items():
        if not only or name in only:
            yield measure(name, camera)


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = [
        "| planted | found | truth minus fit, nats/dim (interval) | without blocks | truth minus independent frames |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        found, fewer = ", ".join(row.parts) or "none", "" if row.one_level is None else _shown(row.one_level)
        lines.append(f"| {row.name} | {found} | {_shown(row.gap)} | {fewer} | {_shown(row.lost)} |")
    return "\n".join(lines) + "\n"


def _shown(value: Interval) -> str:
    return f"{value.value:+.5f} ({value.low:+.5f} to {value.high:+.5f})"
