"""The filter of a Gaussian memory against the whole covariance of all frames, and its parts by hand."""

import math

import numpy as np
import pytest
import torch

from noiseflow.models.temporal.linear_filter import FrameState, PixelState, Prediction

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
