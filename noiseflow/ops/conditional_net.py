"""The two hidden layers of a conditioner net, with FiLM: planes are scaled and shifted for each element."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from noiseflow.ops.native import Kernels, Operation, Source, contiguous

__all__ = ["hidden_layers"]

MOST_VALUES = 4
"""Largest number of value planes that the kernels support."""

_SIZES = "long batch=B, long height=H, long width=W, long threads"
_HIDDEN = "[B, F, H, W]"

SOURCE = Source(
    ("conditional_net",),
    {
        "forward": "const float *values[B, V, H, W]?, const float *signal[B, S, H, W], "
        "const float *w1[B, F // 4, V, 3, 3, 4]?, const float *ws[B, F // 4, S, 4], const float *b1[B, F], "
        f"const float *w2[B, F // 4, F, 4], const float *b2[B, F], float *first_layer{_HIDDEN}?, "
        f"float *second_layer{_HIDDEN}, {_SIZES}",
        "backward": f"const float *of_second{_HIDDEN}, const float *values[B, V, H, W]?, "
        f"const float *signal[B, S, H, W], const float *first_layer{_HIDDEN}, const float *second_layer{_HIDDEN}, "
        "const float *mirrored[B, F, 3, 3, V]?, const float *plain2[B, F, F], float *of_values[B, V, H, W]?, "
        "float *of_w1[B, F // 4, V, 3, 3, 4]?, float *of_ws[B, F, S], float *of_b1[B, F], float *of_w2[B, F, F], "
        f"float *of_b2[B, F], {_SIZES}",
    },
)


def _hidden_layers(
    values: Tensor | None,
    signal: Tensor,
    w1: Tensor,
    ws: Tensor | None,
    b1: Tensor,
    gain1: Tensor,
    shift1: Tensor,
    w2: Tensor,
    b2: Tensor,
    gain2: Tensor,
    shift2: Tensor,
) -> Tensor:
    """Hidden planes tanh(g₂·(w2·tanh(g₁·(w1 * values + ws·signal + b1) + h₁) + b2) + h₂), (B, F, H, W).

    Parameters
    ----------
    values : Tensor, shape (B, V, H, W), or None
        Values that condition, if any.
    signal : Tensor, shape (B, S, H, W)
        Signal features.
    w1 : Tensor, shape (F, V, k, k)
        Weight of the first layer for the values; if `ws` is None, for values and signal together, (F, V + S, k, k).
    ws : Tensor, shape (F, S, 1, 1), or None
        Weight of the first layer for the signal at the pixel itself.
    b1, b2 : Tensor, shape (F,)
        Biases of the two layers.
    gain1, shift1, gain2, shift2 : Tensor, shape (B, F)
        FiLM gains g and shifts h of the two layers, for each element.
    w2 : Tensor, shape (F, F, 1, 1)
        Weight of the second layer.
    """
    if ws is not None and values is not None:
        hidden = conv2d(values, w1, b1, padding="same") + conv2d(signal, ws)
    else:
        hidden = conv2d(signal if values is None else torch.cat([values, signal], 1), w1, b1, padding="same")
    hidden = (hidden * gain1[:, :, None, None] + shift1[:, :, None, None]).tanh()
    return (conv2d(hidden, w2, b2) * gain2[:, :, None, None] + shift2[:, :, None, None]).tanh()


def _sizes(values: Tensor | None, signal: Tensor, w1: Tensor, ws: Tensor | None, *_: Any) -> Mapping[str, int] | None:
    width = w1.shape[0]
    if signal.shape[1] > 16 or width % 4 or width > 32:
        return None
    if values is None:
        return {"V": 0, "S": signal.shape[1], "F": width} if w1.shape[2:] == (1, 1) else None
    serves = ws is not None and w1.shape[2:] == (3, 3) and values.shape[1] <= MOST_VALUES
    return {"V": values.shape[1], "S": signal.shape[1], "F": width} if serves else None


def _by_kernel(
    kernels: Kernels,
    values: Tensor | None,
    signal: Tensor,
    w1: Tensor,
    ws: Tensor | None,
    b1: Tensor,
    gain1: Tensor,
    shift1: Tensor,
    w2: Tensor,
    b2: Tensor,
    gain2: Tensor,
    shift2: Tensor,
) -> Tensor:
    # FiLM is linear, so it is folded into weights per element, and autograd derives its gradient from theirs.
    of_values = None if values is None else gain1[:, :, None, None, None] * w1
    on_signal = w1[:, :, 0, 0] if ws is None else ws[:, :, 0, 0]
    of_signal, bias1 = gain1[:, :, None] * on_signal, gain1 * b1 + shift1
    second, bias2 = gain2[:, :, None] * w2[:, :, 0, 0], gain2 * b2 + shift2
    out: Tensor = _Hidden.apply(kernels, values, signal, of_values, of_signal, bias1, second, bias2)  # type: ignore[no-untyped-call]
    return out


def _grouped(weight: Tensor) -> Tensor:
    """Group output planes by four, (B, F, in, …) to (B, F/4, in, …, 4)."""
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
        weights = {"w1": grouped_1, "ws": grouped_s, "b1": b1, "w2": grouped_2, "b2": b2}
        kernels("forward", values=values, signal=signal, **weights, first_layer=first, second_layer=second)
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
        found = {"of_values": of_values, "of_w1": of_w1, "of_ws": of_ws, "of_b1": of_b1, "of_w2": of_w2, "of_b2": of_b2}
        layers = {"first_layer": first, "second_layer": second, "mirrored": mirrored, "plain2": w2}
        ctx.kernels("backward", of_second=of_second, values=values, signal=signal, **layers, **found)
        if of_w1 is not None:
            of_w1 = of_w1.movedim(-1, 2).flatten(1, 2)
        return None, of_values, None, of_w1, of_ws, of_b1, of_w2, of_b2


hidden_layers = Operation(_hidden_layers, _by_kernel, SOURCE, _sizes, constant=("signal",))
