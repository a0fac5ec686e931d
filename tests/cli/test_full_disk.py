"""Commands on a disk that is really full: one line, no signal, nothing half-written under a final name."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import burst_folder, gaussian_store
from forked import Commands
from small_disk import LARGE, Disk, disk

import noiseflow
from noiseflow.calibrate import write_profile
from noiseflow.calibrate.profiles.published import shipped_profile
from noiseflow.models import ModelSpec, build, save
from noiseflow.simulate import simulate_series

__all__ = ["disk"]

WORDS = {
    "simulate": "simulate OUT --camera PG-12 --iso 100 --scenes 1 --size 32 48",
    "ingest": "ingest raws --patch-size 8 --jobs 1 --out OUT.h5",
    "calibrate": "calibrate series/flats series/darks --out OUT.json --maps OUT.h5",
    "fit": "fit p.h5 --model nlf --out OUT",
    "fit-video": "fit-video run video --scene flat --part black_drift --out OUT",
    "sample": "sample run raws/frame_00.dng --iso 400 --out OUT.h5 --preview OUT.png",
    "denoise": "denoise raws/frame_00.dng --model run --out OUT.dng",
    "transfer": "transfer raws/frame_00.dng --from sony-a7s2 --to pg-12 --out OUT.dng",
    "synthesize": "synthesize raws --run run --isos 400 --jobs 1 --out OUT",
    "clean-patches": "clean-patches p.h5 --out OUT",
    "export": "export p.h5 OUT",
    "profiles": "profiles camera.json --write darktable --out OUT.json",
}

ROOM = (0.1, 0.5, 0.9)
"""Of what the output takes."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    burst_folder(folder / "raws", frames=2, size=(32, 32), seed=0)
    gaussian_store(folder / "p.h5", patches=200).close()
    simulate_series(folder / "series", "PG-12", [400.0], size=(64, 96))
    simulate_series(folder / "larger", "PG-12", [400.0], size=(128, 192))
    shutil.move(folder / "larger" / "darks", folder / "video")
    for path in sorted((folder / "video").glob("*.dng"))[6:]:
        path.unlink()
    save(build(ModelSpec("nlf", cameras=("Maker One", "Simulated PG-12"), isos=(100.0, 1600.0))), folder / "run")
    write_profile(shipped_profile("Sony A7S2"), folder / "camera.json")
    return folder


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    started = Commands(tmp_path_factory.mktemp("said"))
    yield started
    started.close()


@pytest.mark.parametrize("name", WORDS)
def test_one_line_says_so_and_nothing_is_half_written(commands: Commands, inputs: Path, disk: Disk, name: str) -> None:
    words = WORDS[name].replace("OUT", str(disk.folder / "out")).split()
    disk.clear()
    whole = commands.run(inputs, words)
    assert whole.status == 0, whole
    needed, made = disk.pages, {path.name for path in disk.folder.iterdir()}
    for room in ROOM:
        disk.clear()
        disk.resize(max(int(room * needed), 1))
        ended = commands.run(inputs, words)
        assert ended.status == 1, (room, ended)
        last = ended.err.strip().splitlines()[-1]
        assert last.startswith("noiseflow: "), ended
        assert re.search("no space left|GB left", last, re.IGNORECASE), last
        assert "Traceback" not in ended.err
        left = {path.name for path in disk.folder.iterdir()}
        # What an ingest goes on with, and of several outputs one that is whole.
        assert left <= {"out.h5.partial", "out.partial", *(made if len(made) > 1 else ())}, left
        disk.resize(LARGE)
        again = commands.run(inputs, words)
        assert again.status == 0 or "exists; pass --overwrite" in again.err, again


def test_no_output_is_written_as_pages_of_memory() -> None:
    """Where the disk is full, such a write ends the process by signal 7.  A scene's mask is on the disk already."""
    root = Path(noiseflow.__file__).parent
    pattern = re.compile(r"open_memmap\(|memmap\([^)]*\"[rw]\+\"|ACCESS_WRITE|valid_of\([^)]*\"r\+\"")
    found = [
        path.relative_to(root).as_posix() for path in root.rglob("*.py") if pattern.search(path.read_text("utf-8"))
    ]
    assert found == ["patches/ingestion/tasks.py"]
