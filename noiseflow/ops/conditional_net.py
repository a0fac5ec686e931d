"""The hidden layers of `ConditionalNet` as kernels in C++; see ``csrc/hidden.cpp``."""

from typing import Any

import torch
from torch import Tensor

from noiseflow.ops.native import Kernels, contiguous, kernels_for

__all__ = ["hidden_kernels", "hidden_layers"]

MOST_VALUES = 4
"""Planes of values that the kernels are made for."""

Film = tuple[Tensor, Tensor]
"""Scale and shift of each element's hidden planes, (B, width) each."""


def hidden_kernels(values: Tensor | None, signal: Tensor, width: int) -> Kernels | None:
    """The kernels for so many planes, or None where there are none."""
    planes = 0 if values is None else values.shape[1]
    if planes > MOST_VALUES or signal.shape[1] > 16 or width % 4 or width > 32 or signal.requires_grad:
        return None
    return kernels_for("hidden", signal, V=planes, S=signal.shape[1], F=width)


def hidden_layers(
    kernels: Kernels,
    values: Tensor | None,
    signal: Tensor,
    first: tuple[Tensor | None, Tensor, Tensor],
    film1: Film,
    second: tuple[Tensor, Tensor],
    film2: Film,
) -> Tensor:
    """tanh(film2(w2·tanh(film1(w1*values + ws·signal + b1)) + b2)), (B, width, H, W).

    Parameters
    ----------
    kernels : Kernels
    values : Tensor, shape (B, V, H, W), or None
    signal : Tensor, shape (B, S, H, W)
    first : w1, shape (F, V, 3, 3), or None; ws, shape (F, S); b1, shape (F,)
    film1, film2 : Film
    second : w2, shape (F, F), and b2, shape (F,)
    """
    # FiLM is linear: it goes into each element's own weights, and its gradient comes out of theirs.
    (gain1, shift1), (gain2, shift2) = film1, film2
    of_values, of_signal, bias1 = first
    w1 = None if of_values is None else gain1[:, :, None, None, None] * of_values
    ws, b1 = gain1[:, :, None] * of_signal, gain1 * bias1 + shift1
    w2, b2 = gain2[:, :, None] * second[0], gain2 * second[1] + shift2
    out: Tensor = _Hidden.apply(kernels, values, signal, w1, ws, b1, w2, b2)  # type: ignore[no-untyped-call]
    return out


def _grouped(weight: Tensor) -> Tensor:
    """(B, F, in, …) to (B, F/4, in, …, 4)."""
    batch, width, *rest = weight.shape
    return weight.reshape(batch, width // 4, 4, *rest).movedim(2, -1)


class _Hidden(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        kernels: Kernels,
        values: Tensor | None,
        signal: Tensor,
        w1: Tensor | None,
        ws: Tensor,
        b1: Tensor,
        w2: Tensor,
        b2: Tensor,
    ) -> Tensor:
        signal, b1, b2, grouped_s, grouped_2 = contiguous(signal, b1, b2, _grouped(ws), _grouped(w2))
        if values is not None and w1 is not None:
            values, grouped_1 = contiguous(values, _grouped(w1))
        else:
            grouped_1 = None
        second = signal.new_empty(signal.shape[0], b1.shape[1], *signal.shape[2:])
        first = torch.empty_like(second) if any(ctx.needs_input_grad) else None
        weights = grouped_1, grouped_s, b1, grouped_2, b2
        kernels("forward", values, signal, *weights, first, second, *_sizes(signal))
        ctx.save_for_backward(values, signal, w1, w2, first, second)
        ctx.kernels = kernels
        return second

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_second: Tensor) -> tuple[Tensor | None, ...]:
        values, signal, w1, w2, first, second = ctx.saved_tensors
        of_second, w2 = contiguous(of_second, w2)
        batch, width = w2.shape[:2]
        mirrored = of_values = of_w1 = None
        if w1 is not None:
            (mirrored,) = contiguous(w1.flip(3, 4).permute(0, 1, 3, 4, 2))
            of_values = torch.empty_like(values) if ctx.needs_input_grad[1] else None
            of_w1 = signal.new_empty(batch, width // 4, w1.shape[2], 3, 3, 4)
        of_ws, of_w2 = signal.new_empty(batch, width, signal.shape[1]), torch.empty_like(w2)
        of_b1, of_b2 = signal.new_empty(2, batch, width).unbind()
        found = of_values, of_w1, of_ws, of_b1, of_w2, of_b2
        ctx.kernels("backward", of_second, values, signal, first, second, mirrored, w2, *found, *_sizes(signal))
        if of_w1 is not None:
            of_w1 = of_w1.movedim(-1, 2).flatten(1, 2)
        return None, of_values, None, of_w1, of_ws, of_b1, of_w2, of_b2


def _sizes(x: Tensor) -> tuple[int, int, int, int]:
    return x.shape[0], x.shape[2], x.shape[3], torch.get_num_threads()
