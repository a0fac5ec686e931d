"""A thousand mutated files; `python -m tools.readers.fuzz_readers` runs ten thousand."""

import os
import tempfile
from pathlib import Path

import pytest

from tools.readers.fuzz_kinds import Kind, kinds
from tools.readers.fuzz_readers import fuzz

CASES = int(os.environ.get("NOISEFLOW_FUZZ_CASES", "1000"))


@pytest.fixture(scope="module")
def every_kind() -> list[Kind]:
    pytest.importorskip("astropy", reason="FITS files are among those that are mutated")
    with tempfile.TemporaryDirectory() as folder:
        return kinds(Path(folder))


def test_the_files_are_valid_before_they_are_mutated(every_kind: list[Kind], tmp_path: Path) -> None:
    for number, kind in enumerate(every_kind):
        path = tmp_path / str(number) / kind.file
        path.parent.mkdir(parents=True, exist_ok=True)
        for name, data in kind.others.items():
            (tmp_path / str(number) / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / str(number) / name).write_bytes(data)
        path.write_bytes(kind.data)
        kind.call(path)


def test_no_mutated_file_does_more_than_be_refused(every_kind: list[Kind]) -> None:
    report = fuzz(CASES)
    assert report.failures == []
    assert report.cases == CASES
    # Some mutations leave a file whole, most do not: both ends are reached.
    assert report.read > CASES / 20
    assert report.refused > CASES / 2
    assert len(report.by_kind) == len(every_kind)
