"""Publishing and fetching where the disk of the hub's cache is full: one line, and nothing half-fetched is believed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import burst_folder
from forked import Commands
from hub_server import Hub, serving
from small_disk import LARGE, Disk, disk

from noiseflow.models import ModelSpec, build, save

__all__ = ["disk"]

pytest.importorskip("huggingface_hub", reason="the extra [hub] is not installed")

ROOM = (0.0, 0.1, 0.5, 0.9)
"""Of what the cache of one model takes."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    burst_folder(folder / "raws", frames=1, size=(32, 32), seed=0)
    # Weights of many pages.
    spec = ModelSpec("realnvp", cameras=("Maker One",), isos=(100.0, 1600.0), options={"couplings": 4, "width": 32})
    save(build(spec), folder / "run")
    return folder


@pytest.fixture(scope="module")
def hub() -> Iterator[tuple[type[Hub], str]]:
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory, hub: tuple[type[Hub], str], disk: Disk) -> Iterator[Commands]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", hub[1])
        patch.setenv("HF_TOKEN", "hf_test")
        patch.setenv("HF_HOME", str(disk.folder / "cache"))
        patch.delenv("HF_HUB_CACHE", raising=False)
        patch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        started = Commands(tmp_path_factory.mktemp("said"))
    yield started
    started.close()


def test_one_line_says_so_and_the_same_command_fetches_all_when_there_is_room(
    commands: Commands, inputs: Path, hub: tuple[type[Hub], str], disk: Disk
) -> None:
    disk.clear()
    disk.resize(1)
    pushed = commands.run(inputs, ["push", "run", "user/camera"])
    # Nothing is written here to publish a model.
    assert pushed.status == 0, pushed
    address = pushed.out.strip()
    assert address == f"hf://user/camera@{hub[0].newest}"
    words = ["sample", address, "raws/frame_00.dng", "--iso", "400", "--out"]
    disk.clear()
    whole = commands.run(inputs, [*words, "whole.npy"])
    assert whole.status == 0, whole
    needed = disk.pages
    assert needed > 20
    for number, room in enumerate(ROOM):
        disk.clear()
        disk.resize(max(int(room * needed), 1))
        out = f"{number}.npy"
        ended = commands.run(inputs, [*words, out])
        assert ended.status == 1, (room, ended)
        assert "Traceback" not in ended.err
        last = ended.err.strip().splitlines()[-1]
        assert last.startswith(f"noiseflow: {address}: cannot be fetched: "), ended
        assert "No space left on device" in last
        assert not (inputs / out).exists()
        disk.resize(LARGE)
        again = commands.run(inputs, [*words, out])
        assert again.status == 0, again
        assert (inputs / out).read_bytes() == (inputs / "whole.npy").read_bytes()
