"""Memory that tensors leave is kept for the next ones."""

import os
import platform
import subprocess
import sys

import pytest
import torch

from noiseflow.ops import native
from noiseflow.ops.channel_mixing import mix_planes
from noiseflow.ops.libraries.build import available
from noiseflow.ops.native import compiled

FAULTS = """
import ctypes, resource
from noiseflow.ops.libraries.build import keep_memory_of_steps
keep_memory_of_steps()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [libc.malloc(2**22) for _ in range(32)]
    for block in blocks:
        ctypes.memset(block, 1, 2**22)
    for block in blocks:
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's option")
@pytest.mark.parametrize("limit", [None, "1000000"])
def test_freed_memory_is_kept_up_to_the_limit_of_the_user(limit: str | None) -> None:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    if limit is not None:
        variables["MALLOC_TRIM_THRESHOLD_"] = limit
    said = subprocess.run([sys.executable, "-c", FAULTS], env=variables, capture_output=True, text=True, check=True)
    # 128 MiB are 32,768 pages of 4 KiB.
    assert (int(said.stdout) > 16_000) == (limit is not None)


@pytest.mark.skipif(not available(), reason="no C++ compiler")
def test_training_asks_for_it_and_sampling_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(native, "keep_memory_of_steps", lambda: asked.append(torch.is_grad_enabled()))
    with compiled():
        with torch.no_grad():
            mix_planes(torch.rand(2, 4, 8, 8), torch.eye(4))
        assert not asked
        mix_planes(torch.rand(2, 4, 8, 8), torch.eye(4))
    assert asked == [True]
