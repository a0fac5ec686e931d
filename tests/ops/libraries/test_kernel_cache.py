"""Kernels are loaded only from a folder of this user alone, and only as they were built."""

import os
import stat
import sys
from pathlib import Path

import pytest

from noiseflow.ops.libraries import kernel_cache
from noiseflow.ops.libraries.kernel_cache import cache_folder, library_of


def build(made: Path) -> list[str]:
    return [sys.executable, "-c", f"open({str(made)!r}, 'wb').write(b'kernel')"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "noiseflow"


def test_it_is_built_once_in_a_folder_of_this_user_alone(folder: Path) -> None:
    assert library_of("k.so", build).read_bytes() == b"kernel"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert library_of("k.so", lambda made: ["false"]) == folder / "k.so"


@pytest.mark.parametrize("umask", [0o002, 0o000])
def test_it_is_built_once_where_others_may_write_what_a_user_makes(folder: Path, umask: int) -> None:
    """As umask 002 has it, which is the custom where every user has a group: kernels were built by every process."""
    before = os.umask(umask)
    try:
        library_of("k.so", build)
        assert library_of("k.so", lambda made: ["false"]).read_bytes() == b"kernel"
    finally:
        os.umask(before)


@pytest.mark.parametrize("left", [b"", b"ker", b"kernel planted"])
def test_what_is_not_as_it_was_built_is_built_anew(folder: Path, left: bytes) -> None:
    library_of("k.so", build).write_bytes(left)
    assert library_of("k.so", build).read_bytes() == b"kernel"


def test_what_somebody_planted_is_not_loaded(folder: Path) -> None:
    library = library_of("k.so", build)
    for plant in (
        lambda: library.chmod(0o666),
        lambda: (library.unlink(), library.symlink_to("/bin/true")),
        lambda: (library.unlink(), os.mkfifo(library)),
        lambda: (folder / "k.so.sha256").unlink(),
    ):
        plant()
        assert library_of("k.so", build).read_bytes() == b"kernel"
        assert stat.S_IMODE(library.lstat().st_mode) & 0o022 == 0


def test_a_folder_that_others_can_write_to_is_refused(folder: Path) -> None:
    library_of("k.so", build)
    folder.chmod(0o777)
    with pytest.raises(OSError, match="writable by others"):
        library_of("k.so", build)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a folder away")
def test_a_folder_of_another_user_is_refused(folder: Path) -> None:
    library_of("k.so", build)
    os.chown(folder, 12345, 12345)
    with pytest.raises(OSError, match="belongs to another user"):
        library_of("k.so", build)


def test_relative_cache_paths_are_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in (".", "cache", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        assert cache_folder() == tmp_path / ".cache" / "noiseflow"


def test_a_compiler_that_hangs_or_talks_rubbish_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_cache, "COMPILER_S", 0.5)
    with pytest.raises(OSError, match="took more than"):
        library_of("k.so", lambda made: ["sh", "-c", "sleep 60 & sleep 60"])
    rubbish = "import sys; sys.stderr.buffer.write(bytes(range(256))); sys.exit(1)"
    with pytest.raises(OSError, match="failed"):
        library_of("k.so", lambda made: [sys.executable, "-c", rubbish])
    assert [path.name for path in folder.iterdir()] == []
