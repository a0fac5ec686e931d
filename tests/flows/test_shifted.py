"""Compiled convolutions against `conv2d`."""

import warnings

import pytest
import torch
from torch.nn import functional as F

from noiseflow.flows import shifted
from noiseflow.flows.shifted import can_compile, compiled, conv3x3


def operands(inputs: int = 2, outputs: int = 4) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    shapes = (3, inputs, 7, 20), (outputs, inputs, 3, 3), (outputs,)
    return [torch.randn(shape, generator=draw).requires_grad_() for shape in shapes]


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="no C++ compiler")
def test_values_and_gradients_are_those_of_conv2d() -> None:
    weight = torch.randn(3, 4, 5, 18, generator=torch.Generator().manual_seed(1))
    found = []
    for on in (True, False):
        with compiled(on):
            inputs = operands()
            out = conv3x3(*inputs)
            found.append([out, *torch.autograd.grad((out * weight).sum(), inputs)])
    assert shifted._kernel.cache_info().currsize == 2
    for compiled_one, plain in zip(*found, strict=True):
        assert torch.allclose(compiled_one, plain, rtol=1e-5, atol=1e-5)


def test_without_a_compiler_it_says_so_once_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shifted.shutil, "which", lambda name: None)
    shifted._say_once.cache_clear()
    with pytest.warns(RuntimeWarning, match="no C\\+\\+ compiler"), compiled():
        out = conv3x3(*operands())
    assert torch.equal(out, F.conv2d(*operands()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with compiled():
            conv3x3(*operands())
