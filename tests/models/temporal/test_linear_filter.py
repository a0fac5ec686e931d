"""The filter of a Gaussian memory against the whole covariance of all frames, and its parts by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from temporal_models import temporal_model

from noiseflow.flows.conditions import Conditions
from noiseflow.models.model import checked_conditions
from noiseflow.models.temporal.linear_filter import FrameState, PixelState, Prediction
from noiseflow.models.temporal.strengths import MOST, MOST_TRAPS, strengths
from noiseflow.models.temporal.telegraph import amplitudes

PIXELS, FRAMES = 5, 5


def drawn(own: int, shared: int, seed: int) -> tuple[torch.Tensor, ...]:
    """Strengths of two signals, memories, variances and latents."""
    draw = torch.Generator().manual_seed(seed)
    h, g = (0.6 * torch.randn(2, 1, count, PIXELS, generator=draw, dtype=torch.float64) for count in (own, shared))
    rest = 0.3 + torch.rand(2, 1, PIXELS, generator=draw, dtype=torch.float64)
    phi = 1.8 * torch.rand(1, shared, generator=draw, dtype=torch.float64) - 0.9
    return h, g, rest, phi, torch.randn(FRAMES, 1, PIXELS, generator=draw, dtype=torch.float64)


def dense(h: torch.Tensor, g: torch.Tensor, rest: torch.Tensor, phi: torch.Tensor, order: list[int]) -> np.ndarray:
    """Covariance of the latents of all frames, (T·N, T·N)."""
    whole = np.zeros((FRAMES, PIXELS, FRAMES, PIXELS))
    for s, one in enumerate(order):
        for t, other in enumerate(order):
            for p in range(PIXELS):
                whole[s, p, t, p] += float((h[one, 0, :, p] * h[other, 0, :, p]).sum())
                whole[s, p, t, p] += float(rest[one, 0, p]) * (s == t)
                for q in range(PIXELS):
                    decay = phi[0].numpy() ** abs(s - t)
                    whole[s, p, t, q] += float((g[one, 0, :, p] * g[other, 0, :, q]).numpy() @ decay)
    return whole.reshape(FRAMES * PIXELS, FRAMES * PIXELS)


def log_normal(values: np.ndarray, covariance: np.ndarray) -> float:
    return float(-0.5 * (values @ np.linalg.solve(covariance, values) + np.linalg.slogdet(2 * math.pi * covariance)[1]))


@pytest.mark.parametrize("order", [[0, 0, 0, 0, 0], [0, 1, 0, 1, 1], [1, 0, 0, 1, 0]])
@pytest.mark.parametrize(("own", "shared"), [(1, 1), (2, 2), (1, 2), (2, 1)])
def test_each_frame_has_its_density_given_the_past(own: int, shared: int, order: list[int]) -> None:
    h, g, rest, phi, z = drawn(own, shared, 3)
    covariance = dense(h, g, rest, phi, order)
    pixels, frames = PixelState((1, own, PIXELS), z.device), FrameState(phi)
    seen: list[int] = []
    before = 0.0
    for t, signal in enumerate(order):
        predicted = pixels.predict(h[signal], g[signal], rest[signal])
        found = float(frames.take_in(predicted, z[t])) - PIXELS / 2 * math.log(2 * math.pi)
        size = (t + 1) * PIXELS
        whole = log_normal(z[: t + 1].flatten().numpy(), covariance[:size, :size])
        assert found == pytest.approx(whole - before, abs=1e-9)
        before, new = whole, signal not in seen
        if new:
            seen.append(signal)
        pixels.update(h[signal], predicted, z[t], shared, new)
        frames.advance(seen.index(signal), new)


def test_without_values_of_pixels_no_sums_are_kept() -> None:
    _, g, _, phi, z = drawn(1, 2, 4)
    none, rest = torch.zeros(1, 0, PIXELS, dtype=torch.float64), torch.ones(1, PIXELS, dtype=torch.float64)
    covariance = dense(torch.zeros(1, 1, 1, PIXELS), g, rest[None], phi, [0] * FRAMES)
    pixels, frames, before = PixelState((1, 0, PIXELS), z.device), FrameState(phi), 0.0
    for t in range(FRAMES):
        found = float(frames.take_in(pixels.predict(none, g[0], rest), z[t])) - PIXELS / 2 * math.log(2 * math.pi)
        size = (t + 1) * PIXELS
        whole = log_normal(z[: t + 1].flatten().numpy(), covariance[:size, :size])
        assert found == pytest.approx(whole - before, abs=1e-9)
        before = whole
        frames.skip_sums()
        assert frames.mean.shape == (1, 2)


def test_a_frame_without_what_is_shared_is_white_by_the_symmetric_root() -> None:
    _, g, _, phi, z = drawn(1, 2, 5)
    frames = FrameState(phi)
    one = Prediction(torch.full_like(z[0], 0.3), torch.ones_like(z[0]), g[0])
    frames.take_in(one, z[0])
    frames.skip_sums()
    slopes = g[1, 0].numpy()
    covariance = np.eye(PIXELS) + slopes.T @ frames.covariance[0].numpy() @ slopes
    values, vectors = np.linalg.eigh(covariance)
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    other = Prediction(torch.full_like(z[1], -0.2), torch.ones_like(z[1]), g[1])
    expected = root @ (z[1, 0].numpy() + 0.2 - slopes.T @ frames.mean[0].numpy())
    assert frames.alone(other, z[1])[0].numpy() == pytest.approx(expected)


ALL = ("dark_pattern", "response_pattern", "black_drift", "light_flicker", "telegraph")


def strong(pattern: str = "within", observed: torch.Tensor | None = None, scale: float = 1.0) -> tuple[Any, Any]:
    """A model, and what its parts are at six pixels whose frame has a σ of 0.02 to 0.03."""
    model = temporal_model(ALL, pattern=pattern)
    clean = torch.tensor([-0.1, 0.0, 0.1, 0.3, 0.6, 1.0], dtype=torch.float64).reshape(1, 1, 2, 3)
    cond = checked_conditions(model, Conditions(clean, 100.0, 0, observed))
    sigma = scale * (0.02 + 0.01 * clean.clamp(min=0))
    return model, strengths(model, cond, sigma)


def by_hand(model: Any, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """σ of the pattern's parts and of the frame's over σ of the noise, and what traps leave of its variance."""
    clean = np.array([-0.1, 0.0, 0.1, 0.3, 0.6, 1.0])
    lit, sigma = np.maximum(clean, 0), scale * (0.02 + 0.01 * np.maximum(clean, 0))
    level = {name: math.exp(float(model.parts[name].log_sigma[0, 0])) for name in ALL[:4]}
    own = np.stack([level["dark_pattern"] / sigma, level["response_pattern"] * lit / sigma])
    shared = np.stack([level["black_drift"] / sigma, level["light_flicker"] * lit / sigma])
    up, down, fraction = (
        1 / (1 + math.exp(-float(getattr(model.telegraph, name)[0, 0])))
        for name in ("logit_up", "logit_down", "logit_fraction")
    )
    square = float(np.mean(np.square(amplitudes()))) * math.exp(2 * float(model.telegraph.log_amplitude[0, 0]))
    traps = fraction * square * up * down / (up + down) ** 2 / sigma**2
    return own, shared, 1 - np.minimum(traps, MOST_TRAPS)


def test_what_is_new_in_a_frame_is_what_the_pattern_and_the_traps_leave() -> None:
    model, found = strong()
    own, shared, jumping = by_hand(model)
    assert found.own[0].numpy() == pytest.approx(own)
    assert found.shared[0].numpy() == pytest.approx(shared)
    assert found.jumping[0].numpy() == pytest.approx(jumping)
    assert found.rest[0].numpy() == pytest.approx(jumping - (own**2).sum(0))
    assert (found.rest > 0).all()


def test_a_pattern_that_is_added_takes_nothing_from_the_frame() -> None:
    model, found = strong("added")
    assert found.own[0].numpy() == pytest.approx(by_hand(model)[0])
    assert found.rest.tolist() == found.jumping.tolist() == [[1.0] * 6]


def test_a_pattern_stronger_than_the_frame_leaves_it_the_least_share() -> None:
    model, found = strong(scale=0.01)
    own, _, jumping = by_hand(model, 0.01)
    assert jumping == pytest.approx(1 - MOST_TRAPS)
    assert found.rest[0].numpy() == pytest.approx(1 - MOST, rel=1e-6)
    # In the light, where both parts are there, they keep their ratio.
    assert (found.own[0].numpy() / own.clip(1e-300))[:, 2:].std(0) == pytest.approx(0, abs=1e-9)


def test_a_masked_pixel_has_no_part() -> None:
    observed = torch.ones(1, 1, 2, 3, dtype=torch.bool)
    observed[0, 0, 1, 1] = False
    model, found = strong(observed=observed)
    own, shared, _ = by_hand(model)
    assert found.own[0, :, 4].tolist() == found.shared[0, :, 4].tolist() == [0.0, 0.0]
    assert (float(found.rest[0, 4]), float(found.jumping[0, 4])) == (1.0, 1.0)
    assert found.own[0, :, 5].numpy() == pytest.approx(own[:, 5])
    assert found.shared[0, :, 5].numpy() == pytest.approx(shared[:, 5])
    assert found.per_sigma[0].numpy() == pytest.approx(1 / (0.02 + 0.01 * np.array([0, 0, 0.1, 0.3, 0.6, 1.0])))
