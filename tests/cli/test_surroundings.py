"""Every kind of command in odd surroundings: it works, or says in one line why not, and leaves nothing half-written."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from builders import burst_folder, gaussian_store
from forked import SURROUNDINGS, Commands, Ended

import noiseflow.cli
from noiseflow.calibrate import write_profile
from noiseflow.calibrate.profiles.published import shipped_profile
from noiseflow.models import ModelSpec, build, save

WORDS = {
    "simulate": "simulate out --camera PG-12 --iso 100 --scenes 1 --size 32 48",
    "ingest": "ingest in/raws --patch-size 8 --out out.h5",
    "fit": "fit in/p.h5 --model nlf --out out",
    "sample": "sample in/run in/raws/frame_00.dng --iso 400 --out out.dng --preview out.png",
    "sample h5": "sample in/run in/raws/frame_00.dng --iso 400 --out out.h5",
    "denoise": "denoise in/raws/frame_00.dng --model in/run --out out.dng",
    "clean-patches": "clean-patches in/p.h5 --out out",
    "export shards": "export in/p.h5 out",
    "profiles": "profiles in/camera.json --write darktable --out out.json",
    "synthesize": "synthesize in/raws --run in/run --isos 400 --jobs 1 --out out",
    "info": "info --verify in/p.h5",
}
"""A command of each way to write, and one that only reads; each takes about 0.1 s."""

MAY_BE_REFUSED = (
    "removed folder",
    "small files",
    "no more files",
    "little memory",
    "some memory",
    "no processes",
    "no temporary files",
)
LOSES_THE_ANSWER = ("full stdout", "broken pipe", "full stdout without a buffer", "broken pipe without a buffer")
WAITS_FOR_MEMORY = ("little memory", "some memory")


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    started = Commands(tmp_path_factory.mktemp("said"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    burst_folder(folder / "raws", frames=2, size=(32, 32), seed=0)
    gaussian_store(folder / "p.h5", patches=40).close()
    save(build(ModelSpec("nlf", cameras=("Maker One", "One"), isos=(100.0, 1600.0))), folder / "run")
    write_profile(shipped_profile("Sony A7S2"), folder / "camera.json")
    return folder


def one_line(ended: Ended) -> str:
    """The last line, which is the only one that is no progress."""
    assert "Traceback" not in ended.err, ended.err
    assert "Exception ignored" not in ended.err, ended.err
    *before, last = ended.err.strip().splitlines() or [""]
    assert not [line for line in before if line.startswith("noiseflow: ") and "warning" not in line], ended.err
    return last


@pytest.mark.parametrize("around", SURROUNDINGS)
@pytest.mark.parametrize("name", WORDS)
def test_it_works_or_one_line_says_why_not(
    commands: Commands, inputs: Path, tmp_path: Path, name: str, around: str
) -> None:
    if around in WAITS_FOR_MEMORY and np.lib.NumpyVersion(np.__version__) < "2.0.0":
        pytest.skip("the OpenBLAS of NumPy 1 and PyTorch 2.4 wait for ever for the memory that they are refused")
    (tmp_path / "in").symlink_to(inputs)
    words = WORDS[name].split()
    ended = commands.run(tmp_path, words, around)
    last = one_line(ended)
    outputs = {word for word in words if word.startswith("out")}
    made = {path.name for path in tmp_path.iterdir()} - {"in"}
    if around in LOSES_THE_ANSWER:
        assert ended.status == 1, ended
        assert made == outputs
        said = "standard output: cannot be written" in last
        assert said != ("pipe" in around)
        assert said or not last.startswith("noiseflow: "), last
        return
    if ended.status == 0:
        assert made == outputs
        return
    assert around in MAY_BE_REFUSED, ended
    assert ended.status == 1, ended
    assert last.startswith("noiseflow: "), ended
    assert "damaged" not in last, ended
    assert around != "removed folder" or "current folder was removed" in last, ended
    # What is left is what the same command goes on with.
    assert made <= {"out.partial", "out.h5.partial", "out.dng"}, made
    again = commands.run(tmp_path, words)
    assert again.status == 0 or "out.dng" in made, again


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            "out of memory;",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "out of memory on the device"),
        (SystemError("<function f> returned NULL without setting an exception"), "allow the process more memory"),
        (ImportError("libx.so: failed to map segment from shared object"), "allow the process more memory"),
        (RuntimeError("shapes differ"), None),
        (ImportError("No module named 'x'"), None),
        (SystemError("bad argument to internal function"), None),
    ],
)
def test_a_library_without_memory_is_no_fault_of_ours(
    error: Exception, expected: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(noiseflow.cli.Commands, "resolve_command", failing)
    if expected is None:
        with pytest.raises(type(error), match=re.escape(str(error))):
            noiseflow.cli.main(["info", "x"])
        return
    with pytest.raises(SystemExit, match="1"):
        noiseflow.cli.main(["info", "x"])
    said = capsys.readouterr().err
    assert said.startswith("noiseflow: ")
    assert said.count("\n") == 1
    assert expected in said


def test_what_is_said_goes_through_one_function() -> None:
    """Any other way a full standard error ends the command, after its work is done."""
    modules = Path(noiseflow.cli.__file__).parent.rglob("*.py")
    assert [path.name for path in modules if ", err=True" in path.read_text("utf-8")] == ["streams.py"]
