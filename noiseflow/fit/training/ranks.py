"""Processes that share a training: each takes its part of every batch, and all take the same step.

What one process does with a batch is a sum over its patches.  So the ranks add up their parts of
the loss, of the gradient and of the norms' statistics, and have what one process would have.  The
models are small: a step is one message.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed as dist, nn

from noiseflow.core.errors import NoiseflowError

__all__ = ["ALONE", "Ranks", "joined"]

Made = TypeVar("Made")
Buffers = Sequence[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Ranks:
    """A process among those that share a training.

    Parameters
    ----------
    rank, world : int
        Of the process, from 0, and how many there are.
    local : int
        Of the process on its machine: which GPU it takes.
    restarted : bool
        Whether torchrun started it anew after one of the processes had died.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    restarted: bool = False

    @property
    def leads(self) -> bool:
        """Whether it is the first, which alone reads states, writes files and judges."""
        return self.rank == 0

    def first(self, make: Callable[[], Made]) -> Made:
        """What `make` gives on the first rank, on every rank; an error that it raises there, on every rank."""
        if self.world == 1:
            return make()
        said: list[Any] = [None, None]
        if self.leads:
            try:
                said[0] = make()
            except (NoiseflowError, OSError) as error:
                said[1] = error
        dist.broadcast_object_list(said, 0, device=torch.device("cpu"))
        if said[1] is not None:
            raise said[1]
        made: Made = said[0]
        return made

    def add_up(
        self, loss: Tensor, metrics: Mapping[str, Tensor], parameters: Sequence[nn.Parameter], buffers: Buffers
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Sum parts of a loss, of other means and of the gradient over all ranks, in float64.

        Buffers, given with what they were before the step, move by the mean of their moves.  What
        is not finite on one rank is so on all, and all of them skip the step.
        """
        if self.world == 1:
            return loss, metrics
        totals = [each.detach().clone() for each in (loss, *metrics.values())]
        gradients = [each.grad for each in parameters if each.grad is not None]
        moved = [(now, before) for now, before in buffers if now.is_floating_point()]
        moves = [(now - before) / self.world for now, before in moved]
        _add_up([*totals, *gradients, *moves])
        for (now, before), move in zip(moved, moves, strict=True):
            now.copy_(before + move)
        return totals[0], dict(zip(metrics, totals[1:], strict=True))

    @contextmanager
    def as_one(self, model: nn.Module) -> Iterator[None]:
        """Let a model start the same on every rank, and its batch norms see the batch of all of them."""
        if self.world == 1:
            yield
            return
        for value in model.state_dict().values():
            told = value.cpu()
            dist.broadcast(told, 0)
            value.copy_(told)
        norms = [(parent, name, norm) for parent in model.modules() for name, norm in _norms(parent)]
        for parent, name, norm in norms:
            setattr(parent, name, _SharedNorm(norm))
        try:
            yield
        finally:
            for parent, name, norm in norms:
                setattr(parent, name, norm)


ALONE = Ranks()


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes that torchrun started, or those that the caller has joined already; alone without them."""
    if not dist.is_available():
        yield ALONE
        return
    ours = dist.is_torchelastic_launched() and not dist.is_initialized()
    if ours:
        _join()
    try:
        if not dist.is_initialized():
            yield ALONE
            return
        local = int(os.environ.get("LOCAL_RANK", "0"))
        yield Ranks(dist.get_rank(), dist.get_world_size(), local, _restarts() > 0)
    finally:
        if ours:
            dist.destroy_process_group()


def _join() -> None:
    # An optimiser imports this at its first use, and it holds on to a group that it finds: the group's threads would
    # then outlive it, and now and then abort the process at its end.
    import torch._dynamo
    from torch.distributed.rendezvous import rendezvous

    store, rank, world = next(iter(rendezvous("env://")))
    # torchrun keeps its store over restarts, and in it the addresses of processes that are dead (pytorch issue
    # 167288).  On one machine all processes know the same count of restarts; docs/commands.md says what to do on more.
    if os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE"):
        store = dist.PrefixStore(f"restart {_restarts()}", store)  # type: ignore[attr-defined]
    kinds = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(kinds, store=store, rank=rank, world_size=world)


def _restarts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def _add_up(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their sums over all ranks, in one message."""
    flat = torch.cat([each.double().flatten() for each in tensors])
    dist.all_reduce(flat)
    for each, total in zip(tensors, torch.split(flat, [each.numel() for each in tensors]), strict=True):
        each.copy_(total.view_as(each))


def _norms(parent: nn.Module) -> list[tuple[str, nn.BatchNorm2d]]:
    return [(name, child) for name, child in parent.named_children() if isinstance(child, nn.BatchNorm2d)]


class _SharedNorm(nn.BatchNorm2d):
    """A batch norm, whose numbers it takes over, of the batch of all ranks.

    torch's own (`SyncBatchNorm`) has no CPU path.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self._parameters, self._buffers = norm._parameters, norm._buffers
        self.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """Over batch, height and width: (B, C, H, W), (B, C, H, W)."""
        if not self.training:
            return super().forward(x)
        real = x.to(torch.promote_types(x.dtype, torch.float32))
        own = real.new_tensor([real.numel() / real.shape[1]])
        sums = _add(torch.cat([real.sum((0, 2, 3)), own]))
        count = sums[-1]
        mean = sums[:-1] / count
        centred = real - mean[:, None, None]
        variance = _add(centred.square().sum((0, 2, 3))) / count
        if self.track_running_stats:
            self._note(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        out = centred * (variance + self.eps).rsqrt()[:, None, None]
        if self.affine:
            out = out * self.weight[:, None, None] + self.bias[:, None, None]
        return out.to(x.dtype)

    @torch.no_grad()
    def _note(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        weight = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), weight)
        self.running_var.lerp_(variance.to(self.running_var.dtype), weight)


class _Sum(torch.autograd.Function):
    """Sum over ranks; so is its gradient, since every rank's loss goes by it."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        total = part.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


def _add(part: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(part)  # type: ignore[no-untyped-call]
    return total
