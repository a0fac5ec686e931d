"""A small file system of its own, for tests of full disks."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["LARGE", "Disk", "disk"]

LARGE = 4096
"""Pages of an empty disk."""


class Disk:
    """A small file system of its own.

    Parameters
    ----------
    folder : Path
        Where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resize(self, pages: int) -> None:
        options = f"remount,size={pages * os.sysconf('SC_PAGE_SIZE')}"
        subprocess.run(["mount", "-o", options, str(self.folder)], check=True)

    @property
    def pages(self) -> int:
        """Pages that are taken."""
        found = os.statvfs(self.folder)
        return (found.f_blocks - found.f_bfree) * found.f_frsize // os.sysconf("SC_PAGE_SIZE")

    def clear(self) -> None:
        self.resize(LARGE)
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    yield Disk(folder)
    subprocess.run(["umount", str(folder)], check=True)
