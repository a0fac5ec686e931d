import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3
from builders import GAIN, READ, burst_folder, frame

from noiseflow.core.errors import RawError, StoreError
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.patches.ingestion.plan import assign_splits
from noiseflow.raw.formats.dng import write_dng


def test_a_burst_gives_the_true_variance_despite_drift(tmp_path: Path) -> None:
    signal = burst_folder(tmp_path / "raws", frames=6, size=(64, 256), seed=0, drift=5.0)
    result = ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=16))
    assert (result.pairing, result.split_by, result.frames) == ("burst", "frame", 6)
    with PatchStore(tmp_path / "s.h5") as store:
        batch = store.read(np.arange(len(store)))
        scale = 1023.0 - 64.0
        assert set(store.table["clean_variance"]) == {np.float32(0.2)}
    measured = float((batch.noise.double() * scale).square().mean())
    truth = GAIN * (signal.mean() + 2.5 * 5) + READ**2 + 1 / 12
    # 6 × 16384 values, 5 of 6 independent: standard error √(2/81920) = 0.5 %, with the ramp's
    # spread of variances about 0.6 %; five of them. Without the drift correction the
    # offsets of up to ±15 DN would add 60 DN² of 270.
    assert measured == pytest.approx(truth, rel=0.03)


def test_two_frames_make_one_pair(tmp_path: Path) -> None:
    burst_folder(tmp_path / "raws", frames=2, size=(64, 64), seed=0)
    result = ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=16))
    assert result.frames == 1
    assert set(PatchStore(tmp_path / "s.h5").table["clean_variance"]) == {np.float32(1.0)}


def test_clipped_pixels_are_masked_and_counted(tmp_path: Path) -> None:
    (tmp_path / "raws").mkdir()
    for number in range(3):
        mosaic = np.full((64, 64), 500 + number, np.uint16)
        mosaic[40, 40] = 1023
        write_dng(tmp_path / "raws" / f"{number}.dng", frame(mosaic))
    result = ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=16))
    assert (sum(result.patches.values()), result.clipped, result.masked) == (12, 0, 0)
    assert ("masked", "3 values (0.024 %)", "a clean signal at which the frame clips") in result.believed
    with PatchStore(tmp_path / "s.h5") as store:
        masked = store.masked(np.arange(12))
        assert masked is not None
        assert masked.sum((1, 2, 3)).tolist() == 3 * [0, 0, 0, 1]
        assert masked[3, 0, 4, 4]
    strict = ingest([tmp_path / "raws"], tmp_path / "t.h5", IngestOptions(patch_size=16, max_clipped=0))
    assert (sum(strict.patches.values()), strict.clipped) == (9, 3)


def test_no_group_is_in_two_splits(tmp_path: Path) -> None:
    burst_folder(tmp_path / "raws", frames=8, size=(64, 64), seed=0)
    ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8))
    with PatchStore(tmp_path / "s.h5") as store:
        pairs = {(int(row["frame"]), int(row["split"])) for row in store.table}
    assert len(pairs) == 8
    assert {split for _, split in pairs} == {0, 1, 2}


@pytest.mark.parametrize("count", [1, 2, 3, 10, 57])
def test_splits_are_the_same_whatever_the_order_and_leave_none_empty(count: int) -> None:
    names = [f"g{number}" for number in range(count)]
    splits = assign_splits(names, (0.8, 0.1, 0.1), seed=3)
    assert splits == assign_splits(names[::-1], (0.8, 0.1, 0.1), seed=3)
    expected = {1: {0}, 2: {0, 2}}.get(count, {0, 1, 2})
    assert set(splits.values()) == expected


def test_the_store_says_where_it_comes_from(tmp_path: Path) -> None:
    burst_folder(tmp_path / "raws", frames=3, size=(64, 64), seed=0)
    ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8, patches_per_frame=5))
    with PatchStore(tmp_path / "s.h5") as store:
        assert len(store) == 15
        assert store.cameras == ("Maker One",)
        assert store.isos == (400.0,)
        assert [Path(source).name for source in store.sources] == ["frame_00.dng", "frame_01.dng", "frame_02.dng"]
        assert store.provenance["options"]["patch_size"] == 8
        expected = [blake3(Path(source).read_bytes()).hexdigest() for source in store.sources]
        assert list(store.source_checksums) == expected


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    peaks = []
    for frames in (3, 12):
        burst_folder(tmp_path / f"raws{frames}", frames=frames, size=(256, 256), seed=0)
        tracemalloc.start()
        ingest([tmp_path / f"raws{frames}"], tmp_path / f"{frames}.h5", IngestOptions(patch_size=16))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # All frames at once would be four times as much; one more frame in memory is 0.5 MB of 4.
    assert peaks[1] < 1.2 * peaks[0]


def bad_sources(tmp_path: Path) -> dict[str, tuple[list[Path], str]]:
    empty = tmp_path / "empty"
    empty.mkdir()
    text = tmp_path / "text"
    text.mkdir()
    (text / "a.dng").write_text("no raw")
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for number, cfa in enumerate(("RGGB", "BGGR")):
        write_dng(mixed / f"{number}.dng", frame(np.full((64, 64), 500, np.uint16), cfa=cfa))
    no_iso = tmp_path / "no_iso"
    no_iso.mkdir()
    for number in range(2):
        write_dng(no_iso / f"{number}.dng", frame(np.full((64, 64), 500, np.uint16), iso=None))
    return {
        "gone": ([tmp_path / "gone"], "no such file"),
        "empty": ([empty], "no raw file in this folder"),
        "text": ([text], "LibRaw cannot decode"),
        "mixed": ([mixed], "needs one camera, ISO"),
        "no_iso": ([no_iso], "does not say its ISO"),
    }


@pytest.mark.parametrize("case", ["gone", "empty", "text", "mixed", "no_iso"])
def test_bad_sources_leave_nothing_behind(tmp_path: Path, case: str) -> None:
    sources, message = bad_sources(tmp_path)[case]
    before = set(tmp_path.rglob("*"))
    with pytest.raises((RawError, StoreError), match=message):
        ingest(sources, tmp_path / "s.h5", IngestOptions(patch_size=8))
    assert set(tmp_path.rglob("*")) == before


def test_a_wanted_pairing_that_cannot_be_is_refused(tmp_path: Path) -> None:
    burst_folder(tmp_path / "raws", frames=2, size=(64, 64), seed=0)
    with pytest.raises(RawError, match="needs a clean twin"):
        ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(pairing="gt"))
