"""Data-parallel training: each process takes its share of every batch, and all take the same step.

Loss, gradient and batch-norm statistics are sums over patches, so the ranks sum their shares and obtain the
result of a single process.  The models are small enough for one message per step.
"""

import os
import time
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
    """One of the processes that share a training.

    Parameters
    ----------
    rank, world : int
        Rank of this process, from 0, and the number of processes.
    local : int
        Rank on its machine, which selects its GPU.
    restarted : bool
        Whether torchrun restarted it after a process had died.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    restarted: bool = False

    @property
    def leads(self) -> bool:
        """Whether this is the first rank, which alone reads states, writes files and validates."""
        return self.rank == 0

    def first(self, make: Callable[[], Made]) -> Made:
        """Call `make` on the first rank and return its result, or raise its error, on every rank."""
        if self.world == 1:
            return make()
        message: list[Any] = [None, None]
        if self.leads:
            try:
                message[0] = make()
            except (NoiseflowError, OSError) as error:
                message[1] = error
        dist.broadcast_object_list(message, 0, device=torch.device("cpu"))
        if message[1] is not None:
            raise message[1]
        made: Made = message[0]
        return made

    def add_up(
        self, loss: Tensor, metrics: Mapping[str, Tensor], parameters: Sequence[nn.Parameter], buffers: Buffers
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Sum the shares of loss, metrics and gradient over all ranks, in float64.

        Each buffer changes by the mean of its changes on all ranks.  A sum that is not finite on one rank is so on
        all, so all skip the step.

        Parameters
        ----------
        loss : Tensor
            This rank's share of the loss.
        metrics : mapping of str to Tensor
            This rank's shares of the metrics.
        parameters : sequence of Parameter
            Parameters whose gradients are summed in place.
        buffers : sequence of (Tensor, Tensor)
            Each buffer, changed in place, and its value before the step.

        Returns
        -------
        loss : Tensor
            Sum over all ranks.
        metrics : mapping of str to Tensor
            Sums over all ranks.
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
        """Give every rank the weights of the first, and let batch norms see the whole batch."""
        if self.world == 1:
            yield
            return
        for value in model.state_dict().values():
            first = value.cpu()
            dist.broadcast(first, 0)
            value.copy_(first)
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
    """Join the processes that torchrun started, or an existing process group; otherwise run alone."""
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
            _leave()


def _join() -> None:
    # An optimiser imports torch._dynamo at its first use, which keeps a reference to an existing group: its threads
    # would then outlive the group and sometimes abort the process at exit.  So import it before the group exists.
    import torch._dynamo
    from torch.distributed.rendezvous import rendezvous

    store, rank, world = next(iter(rendezvous("env://")))
    # torchrun keeps its store over restarts, including the addresses of dead processes (pytorch issue 167288).  On
    # one machine all processes see the same restart count; docs/commands.md describes several machines.
    if os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE"):
        store = dist.PrefixStore(f"restart {_restarts()}", store)  # type: ignore[attr-defined]
    kinds = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(kinds, store=store, rank=rank, world_size=world)


def _leave() -> None:
    """Destroy the process group, after its threads have freed the tensors of their last messages.

    Before PyTorch 2.8, the destructor keeps the interpreter locked while it joins threads that may still need it to
    free a tensor, and hung for ever (pytorch pull request 154976).
    """
    group = dist.group.WORLD
    dist.destroy_process_group()
    if group is not None and _version() < (2, 8):
        time.sleep(FREED_S)
    del group


FREED_S = 0.5
"""Seconds in which a thread on a busy machine surely frees the tensors of a message that has arrived."""


def _version() -> tuple[int, ...]:
    return tuple(map(int, torch.__version__.split("+")[0].split(".")[:2]))


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
    """Batch norm over the batches of all ranks, with the parameters and buffers of an existing one.

    torch's own `SyncBatchNorm` has no CPU implementation.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self._parameters, self._buffers = norm._parameters, norm._buffers
        self.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over batch, height and width, (B, C, H, W)."""
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
    """Sum over ranks; its gradient is summed too, since the loss of every rank depends on it."""

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
