"""What the machine can do at best, and what a model asks of it."""

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from noiseflow.flows.flow import Flow
from noiseflow.flows.linear.conv1x1 import InvertibleConv1x1
from noiseflow.flows.nets.border_aware_net import BorderAwareNet
from noiseflow.ops.libraries.command import processors
from tools.benching.timing import best_by_turns

__all__ = ["Machine", "Moved", "layers_of", "machine", "multiply_adds", "processor"]

VECTORS = {"x86-64-v4": "AVX-512", "x86-64-v3": "AVX2 (no AVX-512)", "x86-64-v2": "SSE4.2 (no AVX2)", "armv8-a": "NEON"}
"""Kind of processor → its longest vectors."""


def processor(cpuinfo: str | None = None) -> str:
    """Name of the processor, its architecture and its vector instructions.

    Parameters
    ----------
    cpuinfo : str, optional
        Text of ``/proc/cpuinfo``; read from there by default.  Where it has no name, the architecture stands alone.
    """
    if cpuinfo is None:
        path = Path("/proc/cpuinfo")
        cpuinfo = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    names = [line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    kinds = processors(cpuinfo)
    vectors = VECTORS.get(kinds[0], kinds[0]) if kinds else "unknown vector instructions"
    architecture = platform.machine()
    return f"{names[0]}, {architecture} with {vectors}" if names else f"{architecture} with {vectors}"


@dataclass(frozen=True)
class Machine:
    """One thread of a CPU, or a GPU.

    Parameters
    ----------
    multiply_adds_s : float
        In float32, by a product of large matrices.
    copied_bytes_s : float
        Read and written, by a copy of 256 MiB.
    """

    multiply_adds_s: float
    copied_bytes_s: float


def machine(device: str = "cpu", size: int = 1024, mib: int = 256) -> Machine:
    """Measure it."""
    torch.set_num_threads(1)
    a = torch.rand(size, size, device=device)
    source = torch.rand(mib * 2**18, device=device)
    target = torch.empty_like(source)
    times = best_by_turns({"product": lambda: a @ a, "copy": lambda: target.copy_(source)}, device)
    return Machine(size**3 / times["product"], 2 * 4 * source.numel() / times["copy"])


def multiply_adds(model: nn.Module, planes: int = 4) -> float:
    """Multiplications with an addition that the convolutions and mixings of a `noise_flow` take a raw pixel.

    What the channel of the border adds is the same in all patches, and not counted.
    """
    total = 0
    for module in model.modules():
        if isinstance(module, InvertibleConv1x1):
            total += planes**2
        elif isinstance(module, BorderAwareNet):
            total += module.conv1.weight.numel() + module.conv2.weight.numel() + module.conv3.weight[:, :-1].numel()
    return total / planes


def layers_of(model: nn.Module) -> int:
    """Transforms in a row."""
    (flow,) = (module for module in model.modules() if isinstance(module, Flow))
    return len(list(flow.transforms))


class Moved(TorchDispatchMode):
    """Counts the bytes that PyTorch's operations read and write, views apart, as if no cache held any."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            for each in tree_leaves((args, kwargs, out)):
                if isinstance(each, torch.Tensor):
                    self.bytes += each.numel() * each.element_size()
        return out
