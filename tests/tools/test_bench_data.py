"""Small pieces of the measure of ingest, and a page of made-up figures."""

import os
from pathlib import Path

import pytest

from noiseflow.patches.checksums import file_checksum
from tools import bench_data
from tools.bench_data import BURST, copies, page, written_s

STEPS = {
    "decode by rawpy": 80.0,
    "read": 60.0,
    "BLAKE3 of the file": 4.0,
    "cut": 8.0,
    "CRC-32 of the patches": 2.0,
    "write to their place": 6.0,
    "keep the frame": 10.0,
    **dict.fromkeys(BURST, 20.0),
    "floor: numpy's addition of the frames": 10.0,
}
INGEST = {"decode_mpix_s": 160.0, "ingest_mpix_s": 136.0, "ratio": 0.85, "processor_ratio": 1.1, "written_alone": 0.25}
READ = {"patches_s": 80_000.0, "first_patches_s": 60_000.0, "memmap_patches_s": 320_000.0, "ratio": 0.25}


def test_the_page_of_made_up_figures() -> None:
    figures = {
        "machine": {"processors": 2.0, "load": 0.1},
        "start": {"what decoding imports": 150.0, "what an ingest imports": 270.0},
        "6 × camera file, none, disk": INGEST,
        "100 × camera file, none, memory": {**INGEST, "fresh": 0.45},
        "steps, camera file": STEPS,
        "peak": {"camera file, none": 94.0},
        "reading, shared mean": READ,
    }
    text = "\n".join(page("the command", figures))
    assert "| 6 × camera file, none, disk | 160 | 136 | 0.85 | 1.10 | 0.25 |" in text
    assert "0.45 (100 × camera file)" in text
    # 80 of 60 + 4 + 10 + 8 + 2 + 6, and 10 for the sum or 60 for the tests.
    assert "| camera file | 0.80 | 0.53 |" in text
    assert "| shared mean | 80,000 | 60,000 | 320,000 | 0.25 |" in text


def test_plain_writes_are_of_just_as_many_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    fsync = os.fsync
    monkeypatch.setattr(bench_data.os, "fsync", lambda file: (seen.append(os.fstat(file).st_size), fsync(file)))
    assert written_s(tmp_path / "plain", (1 << 23) + 17) > 0
    assert seen == [(1 << 23) + 17]
    assert not list(tmp_path.iterdir())


def test_copies_of_one_file_are_no_duplicates(tmp_path: Path) -> None:
    (tmp_path / "one.arw").write_bytes(bytes(1000))
    assert len({file_checksum(path) for path in copies(tmp_path / "one.arw", tmp_path / "made", 5)}) == 5
