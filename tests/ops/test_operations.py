"""The table of operations: every kernel against its reference in float64, and what a misuse of it raises."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from noiseflow.flows.nets.border_aware_net import BorderAwareNet
from noiseflow.ops import (
    channel_mixing,
    conditional_net,
    coupling,
    line_noise,
    masked_affine,
    native,
    shot_read_noise,
    spline,
    tails_and_skew,
)
from noiseflow.ops.libraries.build import available
from noiseflow.ops.native import OPERATIONS, Kernels, Operation, Schema, Source, compiled
from noiseflow.ops.random import keyed_draws

needs_compiler = pytest.mark.skipif(not available(), reason="no C++ compiler")

B, C, H, W, F = 3, 4, 5, 19, 8
Maker = Callable[..., Tensor]


def positive(draw: Maker, *shape: int) -> Tensor:
    return 0.2 + draw(*shape).abs()


def signal(draw: Maker) -> tuple[Tensor, ...]:
    """Below black too, where the variance has its floor."""
    return 0.3 * draw(B, C, H, W) + 0.2, 0.1 * positive(draw, B, C, 1, 1), 0.05 * positive(draw, B, C, 1, 1)


def tables(*made: Any) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(each) for each in made)


def lines(draw: Maker, *more: Tensor) -> tuple[Any, ...]:
    return draw(B, C, H, W), *signal(draw), *more, (2, 2), line_noise.ROWS


def skewed(draw: Maker) -> tuple[Tensor, ...]:
    given = draw(B, C, H, W), *signal(draw), 1 + 0.1 * draw(B), draw(B)
    return *given, *tables(tails_and_skew.shape_by_moments(), tails_and_skew.spreads_by_shape())


def heavy(draw: Maker) -> tuple[Tensor, ...]:
    return draw(B, C, H, W), *signal(draw), 3 * positive(draw, B), *tables(tails_and_skew.cubic_by_excess())


def affine(draw: Maker) -> tuple[Any, ...]:
    free = (torch.arange(H)[:, None] + torch.arange(W)) % 2 == 0
    weights = 0.3 * draw(2 * C, F, 1, 1), 0.3 * draw(2 * C)
    return draw(B, C, H, W), draw(B, F, H, W).tanh(), *weights, free.expand(C, H, W), 1.0


def bent(draw: Maker) -> tuple[Any, ...]:
    outputs = C * 3 * 3
    weights = 0.3 * draw(outputs, F, 1, 1), 0.3 * draw(outputs)
    return draw(B, C, H, W), draw(B, F, H, W).tanh(), *weights, 6, 2.0, True


def hidden(draw: Maker) -> tuple[Any, ...]:
    first = draw(B, C, H, W), draw(B, 2 * C, H, W), 0.2 * draw(F, C, 3, 3), 0.3 * draw(F, 2 * C, 1, 1), draw(F)
    films = [1 + 0.1 * draw(B, F) for _ in range(4)]
    return *first, *films[:2], 0.3 * draw(F, F, 1, 1), draw(F), *films[2:]


def net(draw: Maker, *, training: bool) -> nn.Module:
    made = BorderAwareNet(2, 4, generator=torch.Generator().manual_seed(1)).train(training)
    for tensor in (*made.parameters(), made.norm1.running_mean, made.norm2.running_mean):
        assert tensor is not None
        tensor.data += 0.2 * draw(*tensor.shape).float()
    return made.to(draw(1).dtype)


def chain(draw: Maker) -> tuple[Any, ...]:
    nets, bounds = [net(draw, training=False) for _ in range(2)], [draw(()).abs() for _ in range(2)]
    mixes = [None, torch.eye(C, dtype=torch.float64) + 0.1 * draw(C, C), None]
    return draw(B, C, H, W), nets, bounds, mixes, False, *signal(draw), False


def remembering(draw: Maker) -> tuple[Any, ...]:
    """A pattern of 0.1 to 1.1 of the variance in the dark, so that its bound holds for some of the pixels."""
    clean, variance = 0.3 * draw(B, C, H, W) + 0.2, 1 + 0.5 * draw(B, C, H, W).tanh()
    terms = torch.cat([positive(draw, B, 2) / 3, positive(draw, B, 1), draw(B, 2)], 1)
    maps = 0.3 * draw(B, C, H, W), 0.3 * draw(B, C, H, W)
    return draw(B, C, H, W), clean, variance, *maps, terms, 1e-3, 0.5, True


def keyed(draw: Maker) -> tuple[Any, ...]:
    """From a column on that is not the first of four, and a frame whose number fills its word."""
    frames = torch.tensor([0, 7, 2**32 - 1], dtype=torch.float64)
    return 20 * positive(draw, B, C, H, W), frames, 0xDEADBEEF, 0xFEED1234, 3, 4000, 7


EXAMPLES: dict[str, Callable[[Maker], tuple[Any, ...]]] = {
    "net_inputs": signal,
    "divide_by_std": lambda draw: (draw(B, C, H, W), *signal(draw)),
    "multiply_by_std": lambda draw: (draw(B, C, H, W), *signal(draw)),
    "with_memory": remembering,
    "line_sums": lines,
    "whiten_lines": lambda draw: (*lines(draw)[:4], positive(draw, B), *lines(draw)[4:]),
    "add_lines": lambda draw: (*lines(draw)[:4], draw(B, 2, 1, H, 1), *lines(draw)[4:]),
    "skew": skewed,
    "skew_inverse": skewed,
    "tails": heavy,
    "tails_inverse": heavy,
    "couple_masked": affine,
    "uncouple_masked": affine,
    "spline": bent,
    "spline_inverse": bent,
    "hidden_layers": hidden,
    "mix_planes": lambda draw: (draw(B, C, H, W), draw(C, C)),
    "couple": lambda draw: (draw(B, C, H, W), net(draw, training=True), draw(()).abs()),
    "coupling_chain": chain,
    "keyed_normals": keyed,
    "keyed_uniforms": keyed,
    "keyed_counts": keyed,
}
"""Operation → arguments, by a maker of random tensors."""

MODULES = (
    channel_mixing,
    conditional_net,
    coupling,
    line_noise,
    masked_affine,
    shot_read_noise,
    spline,
    tails_and_skew,
    keyed_draws,
)
every = pytest.mark.parametrize("name", OPERATIONS)


def drawn(name: str, dtype: torch.dtype) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(3)
    return EXAMPLES[name](
        lambda *shape: torch.randn(*shape if shape != ((),) else ((),), generator=generator, dtype=torch.float64).to(
            dtype
        )
    )


def outcome(operation: Callable[..., Any], arguments: tuple[Any, ...], checked: tuple[bool, ...]) -> list[Tensor]:
    """Results, and gradients of a function of them in every argument that has one."""
    inputs = [
        value.requires_grad_() if isinstance(value, Tensor) and learned and value.is_floating_point() else value
        for value, learned in zip(arguments, checked, strict=True)
    ]
    results = operation(*inputs)
    results = results if isinstance(results, tuple) else (results,)
    found = [each.detach() for each in results]
    if all(each.requires_grad for each in results):
        sum((each * torch.linspace(0.5, 1.5, each.numel()).reshape(each.shape)).sum() for each in results).backward()
        found += [value.grad for value in inputs if isinstance(value, Tensor) and value.requires_grad]
        modules = [value for value in inputs if isinstance(value, nn.Module)]
        found += [parameter.grad for module in modules for parameter in module.parameters()]
    return found


def test_every_operation_has_an_example() -> None:
    assert {name for module in MODULES for name in vars(module) if isinstance(vars(module)[name], Operation)}
    assert EXAMPLES.keys() == OPERATIONS.keys()


@needs_compiler
@every
def test_a_kernel_is_its_reference_in_float64_with_all_gradients(name: str) -> None:
    operation = OPERATIONS[name]
    with torch.set_grad_enabled(operation.differentiable):
        single, double = drawn(name, torch.float32), drawn(name, torch.float64)
        with compiled():
            assert operation.kernels(*single) is not None
            # Keyed draws have a kernel that draws in float64.
            assert operation.kernels(*double) is None or operation.reference.__module__ == keyed_draws.__name__
            found = outcome(operation, single, operation._checked)
        expected = outcome(operation.reference, double, operation._checked)
    assert len(found) == len(expected)
    for value, reference in zip(found, expected, strict=True):
        largest = max(float(reference.abs().max()), 1e-3)
        torch.testing.assert_close(value.double(), reference.double(), rtol=0, atol=3e-5 * largest)


@every
def test_where_a_gradient_is_needed_only_kernels_with_one_serve(name: str) -> None:
    operation = OPERATIONS[name]
    arguments = drawn(name, torch.float32)
    assert operation.kernels(*arguments) is None
    with compiled():
        assert (operation.kernels(*arguments) is not None) == (operation.differentiable and available())
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert operation.kernels(*arguments) is None


MIXING = channel_mixing.SOURCE


def mixing_kernels() -> Kernels:
    with compiled():
        kernels = OPERATIONS["mix_planes"].kernels(torch.zeros(2, 3, 4, 5), torch.eye(3))
    assert kernels is not None
    return kernels


def given(**other: object) -> dict[str, Any]:
    return {"x": torch.ones(2, 3, 4, 5), "weight": torch.eye(3), "z": torch.zeros(2, 3, 4, 5), **other}


@needs_compiler
@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"z": torch.zeros(2, 3, 4, 5, dtype=torch.float64)}, "'z': expected torch.float32"),
        ({"x": torch.zeros(2, 3, 5, 4).mT}, "'x': expected a contiguous tensor"),
        ({"x": torch.eye(3), "weight": torch.ones(2, 3, 4, 5)}, "'x': expected 4 dimensions"),
        ({"z": torch.zeros(2, 3, 4, 4)}, r"'z': expected 5 in \(2, 3, 4, 4\); got 4"),
        ({"weight": torch.eye(4)}, r"'weight': expected 3 in \(4, 4\)"),
        ({"weight": None}, "'weight': expected a tensor; got <class 'NoneType'>"),
        ({"more": torch.eye(3)}, "argument 'more' is not known"),
    ],
)
def test_a_misuse_raises_before_the_kernel_runs(other: dict[str, Any], message: str) -> None:
    kernels, arguments = mixing_kernels(), given(**other)
    with pytest.raises(TypeError, match=f"mix: argument {message}" if message[0] == "'" else message):
        kernels("mix", **arguments)
    assert not arguments["z"].any()


@needs_compiler
def test_a_missing_argument_raises_before_the_kernel_runs() -> None:
    arguments = given()
    del arguments["weight"]
    with pytest.raises(TypeError, match="mix: argument 'weight' is missing; it takes const float"):
        mixing_kernels()("mix", **arguments)
    with pytest.raises(TypeError):
        mixing_kernels()("mix", *given().values())  # type: ignore[arg-type]


@needs_compiler
def test_a_number_of_the_wrong_kind_raises() -> None:
    operation, arguments = OPERATIONS["couple_masked"], drawn("couple_masked", torch.float32)
    with compiled(), pytest.raises(TypeError, match="apply: argument 'bound': expected <class 'float'>"):
        operation(*arguments[:-1], 1)


@needs_compiler
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MIXING.kernels["mix"].replace("*x", "*y"), "declared in Python as"),
        (MIXING.kernels["mix"].replace("const float *x", "const double *x"), "declared in Python as"),
        (MIXING.kernels["mix"].replace(", long threads", ""), "declared in Python as"),
    ],
)
def test_a_declaration_that_is_not_the_one_in_cpp_is_refused_when_it_is_loaded(text: str, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        native._built.__wrapped__(Source(MIXING.files, {"mix": text}), (("C", 3),))
    with pytest.raises(TypeError, match=r"no KERNEL\(stir"):
        native._built.__wrapped__(Source(MIXING.files, {"stir": text}), (("C", 3),))


def test_a_schema_is_written_as_in_cpp() -> None:
    with pytest.raises(TypeError, match="expected a declaration as in C"):
        Schema("float x, short y")


@needs_compiler
@pytest.mark.parametrize("name", ["tails", "skew", "skew_inverse"])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 3e19, -1e30])
def test_what_overflows_is_no_finite_number(name: str, value: float) -> None:
    """Guards look for values that are not finite."""
    given = drawn(name, torch.float32)
    given[0][0, 0, 0, 0] = value
    with torch.no_grad(), compiled():
        found = OPERATIONS[name](*given)
    values = found[0] if isinstance(found, tuple) else found
    assert not bool(values[0, 0, 0, 0].isfinite())
