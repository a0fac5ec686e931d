"""Where a training runs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from noiseflow.core.errors import ModelError

__all__ = ["device_of", "repeatable"]


def device_of(name: str, local_rank: int = 0) -> torch.device:
    """The device that a name stands for; ``"auto"`` is the GPU where there is one.

    Raises
    ------
    ModelError
        The name is none of a device, or PyTorch sees no GPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"device {name!r}: expected auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device {name!r}: this PyTorch sees no GPU; use --device cpu or auto")
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", local_rank % torch.cuda.device_count())
    return device


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Take deterministic kernels on a GPU, where there are some; a CPU's are so."""
    if device.type == "cpu":
        yield
        return
    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
