"""Maps of one file that do not fit together: their checksum holds, and their sizes do not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from noiseflow.calibrate.body.body_file import read_body, write_body
from noiseflow.calibrate.body.body_maps import BodyMaps, DarkMap, GainMap
from noiseflow.core.errors import DataError

WHOLE = np.ones((8, 12), np.float32)
DARK = DarkMap(100.0, WHOLE, 0.1, 2.0, 9, (0.1, 1.0), WHOLE, 0.2)
BODY = BodyMaps("A", "RGGB", (DARK,), GainMap(WHOLE, 0.01, 4), np.array([[7, 11, 1]], np.int32), {"tool": "a test"})


def test_maps_of_one_size_come_back(tmp_path: Path) -> None:
    write_body(BODY, tmp_path / "body.h5")
    found = read_body(tmp_path / "body.h5")
    assert np.array_equal(found.darks[0].current, WHOLE)
    assert found.defects.tolist() == [[7, 11, 1]]


@pytest.mark.parametrize("shape", [(6, 12), (8, 10), (1, 12), (12,), ()])
@pytest.mark.parametrize("which", ["offset", "current", "gain"])
def test_maps_of_several_sizes_are_refused(tmp_path: Path, shape: tuple[int, ...], which: str) -> None:
    """A row or a number would be taken for a whole map, by broadcasting."""
    other = np.ones(shape, np.float32)
    if which == "gain":
        body = replace(BODY, gain=GainMap(other, 0.01, 4))
    else:
        body = replace(BODY, darks=(replace(DARK, **{which: other}),))
    write_body(body, tmp_path / "body.h5")
    with pytest.raises(DataError, match="damaged"):
        read_body(tmp_path / "body.h5")


@pytest.mark.parametrize("defect", [(8, 0, 0), (0, 12, 0), (0, 0, 2), (-1, 0, 0)])
def test_defects_outside_the_frame_are_refused(tmp_path: Path, defect: tuple[int, int, int]) -> None:
    write_body(replace(BODY, defects=np.array([defect], np.int32)), tmp_path / "body.h5")
    with pytest.raises(DataError, match="outside the frame"):
        read_body(tmp_path / "body.h5")
