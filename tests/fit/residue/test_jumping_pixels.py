"""Few pixels with much of the variance in all frames are said; plain noise is not doubted."""

import re

import numpy as np
import pytest
from static_burst import CONTRAST, SHAPE, Frame, exposed, plain, relative

from noiseflow.fit.residue.jumping_pixels import jumping_pixels


def telegraph(step: float, part: float) -> Frame:
    """Pixels that are up by a step in half of the frames."""
    jumps = np.random.default_rng(2).random(SHAPE) < part
    return lambda number, rng: plain(number, rng) + step * jumps * (rng.random(SHAPE) < 0.5)


@pytest.mark.parametrize("count", [3, 4, 12])
@pytest.mark.parametrize("step", [20, 40])
def test_pixels_that_jump_are_said_with_their_share(step: float, count: int) -> None:
    """The read noise was 3.5 and 4.6 for 3 DN, and K 0.91 for 0.8 in another camera, unsaid."""
    (words,) = jumping_pixels(relative(telegraph(step, 0.03), count))
    said = re.match(r"([\d.]+) % of the pixels have ([\d.]+) % of the noise variance in the dark", words)
    assert said is not None
    # Those that jumped in these frames.
    assert 0.5 < float(said[1]) < 3.5
    # Of a mean variance of 70 DN² in the darker half: 3 % of the pixels have 100 or 400 DN² more.
    assert float(said[2]) == pytest.approx({20: 6, 40: 23}[step], rel=0.25)


@pytest.mark.parametrize("count", [2, 3, 12])
@pytest.mark.parametrize("kind", ["plain", "texture", "dark"])
def test_other_noise_is_not_doubted(kind: str, count: int) -> None:
    """A false alarm in a million; two frames do not tell whose the noise is."""
    texture = np.clip(CONTRAST * (1 + 0.3 * np.random.default_rng(0).normal(size=SHAPE)), 0, 800)
    frames: dict[str, Frame] = {
        "plain": plain,
        "texture": lambda number, rng: exposed(texture, rng),
        "dark": lambda number, rng: rng.normal(0, 3, SHAPE),
    }
    for seed in range(3):
        assert list(jumping_pixels(relative(frames[kind], count, seed))) == []
