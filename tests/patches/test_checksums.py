import hashlib
from pathlib import Path

import pytest

from noiseflow.core.errors import RawError
from noiseflow.patches.checksums import BLOCK_BYTES, file_checksum, file_sha256

BLAKE3_OF_251S = {
    0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    102400: "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
}
"""Of the bytes 0, 1, … 250, 0, 1, …: the published test vectors of BLAKE3, by their number."""


@pytest.mark.parametrize("count", BLAKE3_OF_251S)
def test_the_checksum_is_blake3_as_published(tmp_path: Path, count: int) -> None:
    (tmp_path / "file").write_bytes(bytes(number % 251 for number in range(count)))
    assert file_checksum(tmp_path / "file") == BLAKE3_OF_251S[count]


def test_files_of_several_blocks(tmp_path: Path) -> None:
    content = bytes(range(256)) * (BLOCK_BYTES // 100)
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    checksums = set()
    for at in (0, BLOCK_BYTES, len(content) - 1):
        (tmp_path / "file").write_bytes(content[:at] + b"x" + content[at + 1 :])
        checksums.add(file_checksum(tmp_path / "file"))
    assert len(checksums) == 3


@pytest.mark.parametrize("checksum", [file_checksum, file_sha256])
def test_a_file_that_is_gone_is_named(tmp_path: Path, checksum: object) -> None:
    assert callable(checksum)
    with pytest.raises(RawError, match=r"gone\.arw: cannot be read"):
        checksum(tmp_path / "gone.arw")
