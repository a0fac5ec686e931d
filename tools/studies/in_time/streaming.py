"""What a stream of frames costs beside independent frames, and whether its memory grows.

Times are of the processor, the shortest of frames taken by turns; memory is the process's resident memory.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from noiseflow.flows.conditions import Conditions
from noiseflow.models import ModelSpec, TemporalNoise, build, temporal_spec
from noiseflow.models.temporal.registry import PARTS
from noiseflow.models.temporal.stream import at_frame
from noiseflow.ops.random.sampling import Keyed, Source

__all__ = ["MEMORY", "Cost", "Held", "costs", "growth", "table"]

ISO = 100.0
TWO_MEGAPIXELS = (540, 960)
"""Rows and columns of each of four planes."""

TURNS = 25
"""Frames of each kind that are timed."""

LINEAR = ("dark_pattern", "response_pattern", "black_drift", "light_flicker")
MEMORIES = {
    "pattern, drift and flicker": LINEAR,
    "these and telegraph": (*LINEAR, "telegraph"),
    "these and conditional_flow": (*LINEAR, "telegraph", "conditional_flow"),
    "all parts": tuple(PARTS),
}
FRAME_MODELS = "nlf", "physics_flow"

MEMORY = ((270, 480), 1000), (TWO_MEGAPIXELS, 60)
"""Size of a plane and number of frames of the sequences whose memory is measured."""


@dataclass(frozen=True)
class Cost:
    """Time of a frame.

    Parameters
    ----------
    frame, memory, source : str
        Frame model, parts of the memory, and source of the random numbers.
    independent, stream : float
        Seconds of an independent frame and of a frame of the stream.
    """

    frame: str
    memory: str
    source: str
    independent: float
    stream: float

    @property
    def ratio(self) -> float:
        """Stream over independent."""
        return self.stream / self.independent


@dataclass(frozen=True)
class Held:
    """Resident memory of a stream, MiB, after 10 frames, a tenth of them, and all."""

    megapixels: float
    frames: tuple[int, int, int]
    mebibytes: tuple[float, float, float]


def model_with(frame: str, parts: tuple[str, ...]) -> TemporalNoise:
    """A model of a Bayer camera with small parts, none of which is 0."""
    model = build(temporal_spec(ModelSpec(frame, "bayer", ("A",), (ISO,)), parts))
    assert isinstance(model, TemporalNoise)
    return model.requires_grad_(False).eval()


def pictures(size: tuple[int, int]) -> list[Tensor]:
    """Two clean frames, so that nothing can be kept from the one before."""
    draw = torch.Generator().manual_seed(1)
    return [0.5 * torch.rand(1, 4, *size, generator=draw) for _ in range(2)]


def costs(turns: int = TURNS, size: tuple[int, int] = TWO_MEGAPIXELS) -> Iterator[Cost]:
    """Time each frame model with each memory and each source, in one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    frames = pictures(size)
    sources: dict[str, Callable[[], Source]] = {
        "key": lambda: Keyed(1),
        "torch.Generator": lambda: torch.Generator().manual_seed(1),
    }
    for frame in FRAME_MODELS:
        for memory, parts in MEMORIES.items():
            for name, source in sources.items():
                model, given = model_with(frame, parts), source()
                stream = model.stream(iso=ISO, source=given)
                independent, streamed = [], []
                for turn in range(turns + 1):
                    clean = frames[turn % 2]
                    cond = Conditions(clean, ISO)
                    began = time.process_time()
                    model.frame.sample(cond, at_frame(given, turn))
                    between = time.process_time()
                    stream.noise(clean)
                    ended = time.process_time()
                    # The first frame makes the maps of the sensor.
                    if turn:
                        independent.append(between - began)
                        streamed.append(ended - between)
                yield Cost(frame, memory, name, min(independent), min(streamed))
    torch.set_num_threads(before)


def growth(size: tuple[int, int], count: int) -> Held:
    """Draw a sequence with all parts, and read the resident memory on the way."""
    stream = model_with("nlf", tuple(PARTS)).stream(iso=ISO, seed=1)
    frames = pictures(size)
    read = {}
    at = 10, max(20, count // 10), count
    for number in range(1, count + 1):
        stream.noise(frames[number % 2])
        if number in at:
            read[number] = resident()
    return Held(4 * size[0] * size[1] / 1e6, at, (read[at[0]], read[at[1]], read[at[2]]))


def resident() -> float:
    """Resident memory of this process, MiB; where the system does not say it, its maximum so far."""
    page = Path("/proc/self/statm")
    if page.exists():
        return int(page.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def table(found: list[Cost], held: list[Held]) -> str:
    """Markdown."""
    lines = [
        "| single frames | memory | random numbers | independent frame, ms | frame of the stream, ms | ratio |",
        "|---|---|---|---:|---:|---:|",
    ]
    for cost in found:
        lines.append(
            f"| `{cost.frame}` | {cost.memory} | {cost.source} | {1e3 * cost.independent:.1f} | "
            f"{1e3 * cost.stream:.1f} | {cost.ratio:.2f} |"
        )
    for each in held:
        after = ", ".join(
            f"{value:.1f} MiB after {frame}" for frame, value in zip(each.frames, each.mebibytes, strict=True)
        )
        lines.append(
            f"\nResident memory of a stream of {each.megapixels:.1f}-megapixel frames with all parts: {after} frames."
        )
    return "\n".join(lines) + "\n"
