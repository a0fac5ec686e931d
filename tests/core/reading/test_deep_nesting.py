"""JSON nested deeper than Python's stack: every reader of a file says what is wrong, or that it is none of ours."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from noiseflow.calibrate.profiles.darktable import from_darktable
from noiseflow.calibrate.profiles.darktable_atlas import read_atlas
from noiseflow.calibrate.profiles.profile import read_profile
from noiseflow.core.errors import DataError, NoiseflowError
from noiseflow.core.output.manifest import MANIFEST, begin, listing, record
from noiseflow.core.output.marks import has_mark
from noiseflow.evaluate.benchmark.appended import rows_of_others
from noiseflow.evaluate.report.metrics_file import METRICS, read_metrics
from noiseflow.patches.sources import collect

DEEP = "[" * 100_000 + "]" * 100_000

READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "profile": ("a.json", read_profile),
    "darktable": ("a.json", lambda path: from_darktable(path, "Nikon", "D5100")),
    "atlas": ("a.json", read_atlas),
    "results": ("a.json", lambda path: rows_of_others(path, {"a": "0" * 64}, "test")),
    "metrics": (METRICS, lambda path: read_metrics(path.parent)),
    "simulation": ("simulation.json", lambda path: collect(path.parent)),
    "synthetic pairs": ("manifest.jsonl", lambda path: collect(path.parent)),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_refuses_it(tmp_path: Path, reader: str) -> None:
    name, read = READERS[reader]
    if reader == "synthetic pairs":
        (tmp_path / "synthesis.json").write_text("{}")
    (tmp_path / name).write_text(DEEP)
    with pytest.raises(NoiseflowError, match=name):
        read(tmp_path / name)


def test_such_a_file_has_no_mark_of_ours(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(f'{{"made_by": "noiseflow", "a": {DEEP}}}')
    assert not has_mark(tmp_path / "a.json")


def test_such_a_line_of_a_list_counts_for_nothing(tmp_path: Path) -> None:
    begin(tmp_path, "run")
    with (tmp_path / MANIFEST).open("a") as lines:
        lines.write(DEEP + "\n")
    record(tmp_path, {"file": "a", "sha256": "0"})
    known = listing(tmp_path)
    assert known is not None
    assert list(known.files) == ["a"]


def test_a_simulation_s_iso_that_no_float_holds_is_refused(tmp_path: Path) -> None:
    scene = {"name": "a", "iso": 10**400, "noisy": [], "clean": "c.dng"}
    (tmp_path / "simulation.json").write_text(json.dumps({"scenes": [scene], "truth": {}}))
    with pytest.raises(NoiseflowError, match=r"simulation\.json"):
        collect(tmp_path)


@pytest.mark.parametrize(
    "content", [{"noiseprofiles": [{"maker": 1, "models": [{"model": "x", "profiles": 3}]}]}, {"noiseprofiles": 3}, []]
)
def test_darktable_s_file_of_other_types_is_refused(tmp_path: Path, content: object) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    for read in (lambda path: from_darktable(path, "Nikon", "D5100"), read_atlas):
        with pytest.raises(DataError, match=r"a\.json"):
            read(tmp_path / "a.json")
