"""The real data sets, whole: what is read of each, and what is said of it, so that no check refuses a real sensor."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from noiseflow.patches import IngestOptions, ingest
from noiseflow.raw import RawSettings


@dataclass(frozen=True)
class RealSet:
    """A set, what an ingest reads of it, and how each of its remarks begins."""

    folder: str
    frames: int
    patches: int
    masked: int
    pairing: str
    remarks: tuple[str, ...] = ()
    settings: RawSettings | None = None


SETS = {
    "12-bit CCD": RealSet("emva1288/EMVA1288_ReferenceSet_001_CCD_12Bit", 200, 13137, 863, "burst"),
    "8-bit CMOS": RealSet("emva1288/EMVA1288_ReferenceSet_002_CMOS_08Bit_left640", 400, 31424, 576, "burst"),
    "D7000": RealSet("bayer/nikon_d7000_flats", 186, 186, 0, "flat"),
    "Seestar": RealSet(
        "bayer/seestar_s50",
        12,
        912,
        48,
        "burst",
        # Both are so: its 12-bit codes are multiplied by 3.2, and stars stand still no better than 1 %.
        (
            "/light_00.fits: codes are missing at equal distances: they were multiplied after the converter",
            "seestar_s50: 1.2 % of it moves and is masked",
        ),
        RawSettings(black=(256.0,), white=65535.0),
    ),
    "sCMOS": RealSet(
        "scmos",
        6,
        2550,
        0,
        "burst",
        ("scmos: looks dark (0.55 DN above black)",),
        RawSettings(cfa="MONO", iso=100.0, black=(241.0,), white=65535.0, camera="sCMOS"),
    ),
}


def source(of: RealSet, shared_data: Path, scratch: Path) -> Path:
    """Return the folder of a set; the frames of the sCMOS lie in one archive and are written one by one."""
    if of.folder != "scmos":
        return shared_data / of.folder
    folder = scratch / "scmos"
    folder.mkdir()
    for number, frame in enumerate(np.load(shared_data / "scmos" / "scmos_bias_6.npz")["frames"]):
        np.save(folder / f"bias_{number}.npy", frame)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_a_real_set_is_read_whole_and_nothing_false_is_said(name: str, shared_data: Path, tmp_path: Path) -> None:
    of = SETS[name]
    read = ingest([source(of, shared_data, tmp_path)], tmp_path / "p.h5", IngestOptions(settings=of.settings), jobs=1)
    assert (read.frames, sum(read.patches.values()), read.masked, read.clipped) == (of.frames, of.patches, of.masked, 0)
    assert read.pairing == of.pairing
    said = [note.replace(str(shared_data / of.folder), "") for note in read.notes]
    assert len(said) == len(of.remarks), said
    for note, begins in zip(said, of.remarks, strict=True):
        assert note.startswith(begins)
