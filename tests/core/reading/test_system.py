"""What the system refuses is not called damage."""

import errno
import os
from pathlib import Path

import pytest

from noiseflow.core.reading.system import refused_by_system


def test_a_file_that_may_not_be_opened_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.write_bytes(b"rubbish")
    assert not refused_by_system(whole, ValueError("no header"))
    assert not refused_by_system(whole, OSError("truncated file"))
    assert refused_by_system(tmp_path / "none", ValueError("no header")) == "cannot be read (no such file or directory)"


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EIO])
def test_the_word_of_the_system_is_found_in_what_libraries_say(tmp_path: Path, code: int) -> None:
    said = RuntimeError(f"unable to open file in read-only mode: {os.strerror(code)} ({code})")
    assert refused_by_system(tmp_path, said) == f"cannot be read ({os.strerror(code).lower()})"
