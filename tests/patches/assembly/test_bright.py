"""The clean signal from which a frame clips: a step of 1/256 of the range of which a thousandth of the pixels clip."""

from pathlib import Path

import numpy as np
import pytest

from noiseflow.patches.assembly.bright import clipping_signals
from noiseflow.patches.pairings import FramePair
from noiseflow.patches.sources import Frame
from noiseflow.raw import RawImage

BLACK, WHITE = (60.0, 64.0, 68.0, 72.0), 1084.0


def pair(mosaic: np.ndarray, codes: bool = False) -> FramePair:
    image = RawImage(mosaic.astype(np.uint16), "RGGB", BLACK, WHITE, 100.0, source="a.dng")
    packed = np.stack([mosaic[y::2, x::2] for y in (0, 1) for x in (0, 1)]).astype(np.uint16) if codes else None
    return FramePair(Frame(Path("a.dng"), lambda: image), 0, image, None, 0.0, codes=packed)


@pytest.mark.parametrize("shape", [(40, 64), (64, 40), (2080, 2060)])
@pytest.mark.parametrize("codes", [False, True])
def test_the_step_where_pixels_clip(shape: tuple[int, int], codes: bool) -> None:
    """Upright, across, and so large that every second pixel is looked at."""
    mosaic, signal = np.full(shape, 500), np.full((4, shape[0] // 2, shape[1] // 2), 500.0)
    # In the first plane pixels of 950 DN clip; in the second only two of them; in the third the clean signal clips too.
    mosaic[0::2, 0::2][:12, :12], signal[0, :12, :12] = WHITE, 950.0
    mosaic[0::2, 1::2][0, :2], signal[1, :12, :12] = WHITE, 950.0
    mosaic[1::2, 0::2][:12, :12], signal[2, :12, :12] = WHITE, 2000.0
    found = clipping_signals(pair(mosaic, codes), signal)
    width = (WHITE - BLACK[0]) / 256
    assert found[0] == pytest.approx(BLACK[0] + width * ((950 - BLACK[0]) // width))
    assert found[1:].tolist() == pytest.approx([WHITE - 0.5, BLACK[2] + (WHITE - BLACK[2]) * 255 / 256, np.inf])


@pytest.mark.parametrize(("clipped", "masked"), [(3, False), (4, True), (5, True)])
def test_one_in_a_thousand_of_a_step(clipped: int, masked: bool) -> None:
    """Of 4,000 pixels of one signal."""
    mosaic, signal = np.full((200, 80), 500), np.full((4, 100, 40), 950.0)
    mosaic[0, 0 : 2 * clipped : 2] = WHITE
    found = clipping_signals(pair(mosaic), signal)[0]
    assert (found < 951) == masked
    assert found == pytest.approx(BLACK[0] + 4.0 * 222 if masked else WHITE - 0.5)
