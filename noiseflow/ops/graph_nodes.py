"""Operations as nodes of a compiled graph: ``torch.ops.noiseflow.NAME`` and ``NAME_gradients``.

Code that `torch.compile` generates from a reference is several times slower on a CPU than the kernel.  A node runs
the operation itself, and so its kernel if there is one for the arguments.
"""

from collections.abc import Callable
from inspect import signature
from typing import Any, get_args, get_type_hints

import torch
from torch import Tensor

__all__ = ["node_of"]

_TYPES: dict[object, str] = {
    Tensor: "Tensor",
    Tensor | None: "Tensor?",
    float: "float",
    int: "int",
    bool: "bool",
    tuple[int, int]: "int[2]",
}
"""Annotation of an argument → its type in a node's schema."""

_LIBRARY: Any = torch.library.Library("noiseflow", "FRAGMENT")  # type: ignore[no-untyped-call]

Node = Callable[..., Any]


def node_of(operation: Node, with_gradients: Node, reference: Node, results: Node) -> Node | None:
    """Register a graph node for an operation; None if its annotations are not all tensors and numbers.

    Parameters
    ----------
    operation : callable
        Body of the node.
    with_gradients : callable
        Body used when gradients are computed.
    reference : callable
        The operation in plain PyTorch, with annotated arguments; its name becomes the node's.
    results : callable
        Function of the same arguments that returns tensors with the results' shapes and dtypes; it reads no values.
    """
    name, hints = reference.__name__.lstrip("_"), get_type_hints(reference)
    returned = hints.pop("return", None)
    untyped = returned is None or len(hints) < len(signature(reference).parameters)
    if untyped or not all(hint in _TYPES for hint in hints.values()):
        return None
    arguments = ", ".join(f"{_TYPES[hint]} {argument}" for argument, hint in hints.items())
    count = len(get_args(returned)) or 1
    _LIBRARY.define(f"{name}({arguments}) -> ({', '.join(['Tensor'] * count)})")

    def forward(*given: Any) -> Any:
        with torch.no_grad():
            found = operation(*map(_as_given, given))
        return found.contiguous() if count == 1 else tuple(each.contiguous() for each in found)

    def shaped(*given: Any) -> Any:
        found = results(*map(_as_given, given))
        return _empty_like(found) if count == 1 else tuple(map(_empty_like, found))

    _LIBRARY.impl(name, forward, "CPU")
    torch.library.register_fake(f"noiseflow::{name}", shaped, lib=_LIBRARY)
    _add_gradients(name, arguments, with_gradients)
    node: Node = getattr(torch.ops.noiseflow, name)
    return node


def _add_gradients(name: str, arguments: str, operation: Node) -> None:
    """Register first derivatives of a node: a second node that reruns the operation and differentiates it."""
    gradients = f"{name}_gradients"
    _LIBRARY.define(f"{gradients}(Tensor[] of_results, bool[] wanted, {arguments}) -> Tensor[]")

    def found(of_results: list[Tensor], wanted: list[bool], *given: Any) -> list[Tensor]:
        # The dispatcher disables autograd within the body of a node; switch it on again.
        with torch._C._SetExcludeDispatchKeyGuard(torch._C.DispatchKey.AutogradCPU, False), torch.enable_grad():
            leaves = [
                each.detach().requires_grad_(needed) if isinstance(each, Tensor) else _as_given(each)
                for each, needed in zip(given, wanted, strict=True)
            ]
            results = operation(*leaves)
            by = [leaf for leaf, needed in zip(leaves, wanted, strict=True) if needed]
            results = [results] if isinstance(results, Tensor) else list(results)
            made = torch.autograd.grad(results, by, of_results, allow_unused=True, materialize_grads=True)
        return [each.contiguous() for each in made]

    def shaped(of_results: list[Tensor], wanted: list[bool], *given: Any) -> list[Tensor]:
        return [_empty_like(each) for each, needed in zip(given, wanted, strict=True) if needed]

    def remember(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*(each for each in inputs if isinstance(each, Tensor)))
        ctx.rest = [None if isinstance(each, Tensor) else (each,) for each in inputs]

    def backward(ctx: Any, *of_results: Tensor) -> tuple[Tensor | None, ...]:
        tensors, wanted = iter(ctx.saved_tensors), list(ctx.needs_input_grad)
        given = [next(tensors) if rest is None else rest[0] for rest in ctx.rest]
        made = iter(getattr(torch.ops.noiseflow, gradients)(list(of_results), wanted, *given))
        return tuple(next(made) if needed else None for needed in wanted)

    _LIBRARY.impl(gradients, found, "CPU")
    torch.library.register_fake(f"noiseflow::{gradients}", shaped, lib=_LIBRARY)
    torch.library.register_autograd(f"noiseflow::{name}", backward, setup_context=remember, lib=_LIBRARY)


def _as_given(value: Any) -> Any:
    """Undo the dispatcher's conversion of tuples to lists."""
    return tuple(value) if isinstance(value, list) else value


def _empty_like(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
