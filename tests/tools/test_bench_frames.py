"""The memory of a whole frame's noise is that of the frame, and of a strip of tiles."""

from pathlib import Path

from noiseflow.raw.formats.dng import write_dng
from tools.workloads.frames import LIMIT_MIB, Run, draw, drawn, made, save_moved, words
from tools.workloads.memory import in_fresh_process


def test_more_rows_take_no_more_memory_than_their_codes(tmp_path: Path) -> None:
    save_moved("noise_flow", tmp_path / "run")
    found: list[Run] = []
    for rows in (1024, 4096):
        write_dng(tmp_path / f"{rows}.dng", made(rows, 600))
        found.append(in_fresh_process(drawn, tmp_path / "run", tmp_path / f"{rows}.dng", tmp_path / "noisy.dng"))
    few, many = found
    # 12 to 13 bytes a pixel on a frame of 24 megapixels: codes, float32, and the file while it is written.  The
    # whole frame as one tile was seen to take 44.
    more = (many.above_mib - few.above_mib) * 2**20 / (many.pixels - few.pixels)
    assert more < 25, found
    assert many.above_mib < 100


def test_the_page_says_what_was_found(tmp_path: Path) -> None:
    found = {
        "noise_flow": [Run(10**6, 0.5, 40.0), Run(2 * 10**6, 0.8, 50.0)],
        "physics_flow": [Run(10**6, 0.8, 60.0), Run(2 * 10**6, 1.6, LIMIT_MIB + 1)],
    }
    told = words(found)
    assert "| 1.0 | 1.25 | 40 | 1.00 | 60 |" in told
    assert "differ by 25% at the most" in told
    assert "above the limit of 1 GB" in told
    assert "takes 2.0 × as long" in told
    draw(found, tmp_path / "frames.png")
    assert (tmp_path / "frames.png").stat().st_size > 10_000
