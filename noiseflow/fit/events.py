"""TensorBoard events of a fit, where TensorBoard is installed (extra ``[train]``)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

__all__ = ["Events", "events"]


class Events(Protocol):
    """Takes the numbers of one epoch."""

    def __call__(self, epoch: int, row: Mapping[str, float]) -> None:
        """Write them."""


@contextmanager
def events(folder: Path) -> Iterator[Events]:
    """Write events into a run folder; without TensorBoard, nothing.

    Parameters
    ----------
    folder : Path
        What ``tensorboard --logdir`` is pointed at.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        yield lambda epoch, row: None
        return
    with SummaryWriter(str(folder)) as writer:

        def write(epoch: int, row: Mapping[str, float]) -> None:
            for name, value in row.items():
                if name != "epoch":
                    writer.add_scalar(f"fit/{name}", value, epoch)
            writer.flush()

        yield write
