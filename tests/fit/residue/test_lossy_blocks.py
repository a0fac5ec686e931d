"""Codes whose blocks were quantised in frequency are said; others are not, whatever they show."""

import numpy as np
import pytest
from scipy.fft import dctn, idctn
from static_burst import BLACK, SHAPE, WHITE, Frame, X, burst, exposed, plain

from noiseflow.fit.residue.lossy_blocks import lossy_blocks


def quantised(side: int, step: float, mosaic: bool, shift: int = 0) -> Frame:
    """Noise of 3 to 22 DN in blocks whose coefficients are whole multiples of a step; their grid begins at `shift`."""

    def of(plane: np.ndarray) -> np.ndarray:
        rows, columns = (each // side * side for each in (plane.shape[0] - shift, plane.shape[1] - shift))
        found = plane.copy()
        inner = np.s_[shift : shift + rows, shift : shift + columns]
        blocks = plane[inner].reshape(rows // side, side, -1, side).swapaxes(1, 2)
        kept = step * np.rint(dctn(blocks, axes=(2, 3), norm="ortho") / step)
        found[inner] = idctn(kept, axes=(2, 3), norm="ortho").swapaxes(1, 2).reshape(rows, columns)
        return found

    def frame(number: int, rng: np.random.Generator) -> np.ndarray:
        whole = plain(number, rng)
        if mosaic:
            return of(whole)
        for row in (0, 1):
            for column in (0, 1):
                whole[row::2, column::2] = of(whole[row::2, column::2])
        return whole

    return frame


def said(frame: Frame, seed: int = 0, size: int = 32) -> list[str]:
    batch = burst(frame, 3, seed, size)
    spread = np.sqrt(1 + batch.table["clean_variance"][:, None, None, None])
    codes = BLACK + (batch.noise.numpy() * spread + batch.clean.numpy()) * (WHITE - BLACK)
    corners = np.stack([batch.table["y"], batch.table["x"]], 1).astype(np.int64)
    noise = (batch.noise.numpy() * (WHITE - BLACK)).astype(np.float32)
    return list(lossy_blocks(np.rint(codes).astype(np.float32), corners, noise))


@pytest.mark.parametrize(
    ("side", "step", "mosaic", "shift"),
    [(8, 8, False, 0), (8, 24, False, 3), (8, 24, True, 0), (8, 40, True, 5), (16, 24, False, 0), (4, 24, False, 1)],
)
def test_blocks_are_found_at_any_phase(side: int, step: float, mosaic: bool, shift: int) -> None:
    """K was 0.80 to 1.05 for 0.8, and σ 0 to 3.7 for 3 DN."""
    (words,) = said(quantised(side, step, mosaic, shift))
    assert f"{side}×{side} blocks of {'the mosaic' if mosaic else 'the colour planes'} are quantised" in words


@pytest.mark.parametrize("size", [8, 16, 32])
@pytest.mark.parametrize("kind", ["plain", "texture", "edges", "tails", "coarse"])
def test_other_codes_are_not_doubted(kind: str, size: int) -> None:
    texture = np.clip(300 * (1 + 0.3 * np.random.default_rng(0).normal(size=SHAPE)), 0, 800)
    frames: dict[str, Frame] = {
        "plain": plain,
        "texture": lambda number, rng: exposed(texture, rng),
        "edges": lambda number, rng: exposed(50 + 500.0 * (X // 8 % 2), rng),
        "tails": lambda number, rng: plain(number, rng) + 40 * (rng.random(SHAPE) < 0.02),
        "coarse": lambda number, rng: rng.normal(100, 0.4, SHAPE),
    }
    for seed in range(3):
        assert said(frames[kind], seed, size) == []


def lifted(lines: np.ndarray, step: float) -> np.ndarray:
    """Lines along the first axis whose odd ones are kept as quantised 5/3 details."""
    even, odd = lines[::2], lines[1::2]
    around = (even + np.concatenate([even[1:], even[-1:]])) / 2
    found = lines.copy()
    found[1::2] = around + step * np.rint((odd - around) / step)
    return found


@pytest.mark.parametrize("step", [20, 30])
def test_wavelets_are_found(step: float) -> None:
    """K was 0.81 and 1.05 for 0.8, in silence."""

    def frame(number: int, rng: np.random.Generator) -> np.ndarray:
        whole = exposed(100 + 0.3 * X, rng)
        for row in (0, 1):
            for column in (0, 1):
                part = np.s_[row::2, column::2]
                whole[part] = lifted(lifted(whole[part], step).T, step).T
        return whole

    (words,) = said(frame)
    assert "as by a wavelet transform" in words
