"""TensorBoard events of a fit, where TensorBoard is installed (extra ``[train]``)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import Protocol

from torch import Tensor

from noiseflow.core.output.manifest import record

__all__ = ["Events", "events"]


class Events(Protocol):
    """Takes the numbers and pictures of one epoch."""

    def __call__(self, epoch: int, row: Mapping[str, float]) -> None:
        """Write the numbers."""

    def pictures(self, epoch: int, draw: Callable[[], Mapping[str, Tensor]]) -> None:
        """Write the pictures that `draw` makes; where nobody looks, they are not made."""


class _NoEvents:
    def __call__(self, epoch: int, row: Mapping[str, float]) -> None:
        pass

    def pictures(self, epoch: int, draw: Callable[[], Mapping[str, Tensor]]) -> None:
        pass


@contextmanager
def events(folder: Path) -> Iterator[Events]:
    """Write events into a run folder, from the first ones on; without TensorBoard, nothing.

    Parameters
    ----------
    folder : Path
        What ``tensorboard --logdir`` is pointed at.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        yield _NoEvents()
        return

    @cache
    def writer() -> SummaryWriter:
        # The file grows: it is known as ours by the random end of its name.
        token = token_hex(8)
        record(folder, {"growing": f"events.out.tfevents.*.{token}"})
        made: SummaryWriter = stack.enter_context(SummaryWriter(str(folder), filename_suffix=f".{token}"))
        return made

    class Written(_NoEvents):
        def __call__(self, epoch: int, row: Mapping[str, float]) -> None:
            for name, value in row.items():
                if name != "epoch":
                    writer().add_scalar(f"fit/{name}", value, epoch)
            writer().flush()

        def pictures(self, epoch: int, draw: Callable[[], Mapping[str, Tensor]]) -> None:
            for name, picture in draw().items():
                writer().add_image(f"fit/{name}", picture, epoch)

    with ExitStack() as stack:
        yield Written()
