"""The parts of Glow against nflows, with the same weights."""

import pytest
import torch
from transform_table import conditions, generator, noise_like, randomised

from noiseflow.core.errors import DataError
from noiseflow.flows.combinators import squeeze, unsqueeze
from noiseflow.flows.linear.actnorm import ActNorm
from noiseflow.flows.linear.conv1x1 import InvertibleConv1x1

PLANES = 5


def test_conv1x1_equals_nflows() -> None:
    theirs = pytest.importorskip("nflows.transforms.conv").OneByOneConvolution(PLANES).double()
    ours = InvertibleConv1x1(PLANES, generator(1))
    # nflows has positive diagonals only.
    ours.sign.fill_(1.0)
    ours = randomised(ours, 0.3)
    assert isinstance(ours, InvertibleConv1x1)
    lower, upper = ours.factors()
    # Ours is (U + diag s)ᵀ Lᵀ Pᵀ, theirs L'(U' + diag s) P': the diagonal moves to the other factor.
    scale = upper.diagonal()
    with torch.no_grad():
        their_lower, their_upper = upper.T / scale, scale[:, None] * lower.T
        theirs.lower_entries.copy_(their_lower[theirs.lower_indices])
        theirs.upper_entries.copy_(their_upper[theirs.upper_indices])
        theirs.unconstrained_upper_diag.copy_((scale - theirs.eps).expm1().log())
        theirs.permutation._permutation = ours.permutation.T.argmax(1)
    cond = conditions(3, PLANES, 4, 6)
    x = noise_like(cond)
    z, log_det = ours(x, cond)
    expected, expected_log_det = theirs(x)
    torch.testing.assert_close(z, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(log_det, expected_log_det, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ours.inverse(expected, cond), x, rtol=1e-9, atol=1e-9)


def test_actnorm_and_its_start_equal_nflows() -> None:
    theirs = pytest.importorskip("nflows.transforms.normalization").ActNorm(PLANES).double().train()
    ours = ActNorm(PLANES).double()
    cond = conditions(4, PLANES, 6, 5)
    x = 3.0 * noise_like(cond) + 2.0
    expected, expected_log_det = theirs(x)
    ours.start_from(x)
    z, log_det = ours(x, cond)
    # They divide by n − 1 where we divide by n; n is 120.
    factor = (119 / 120) ** 0.5
    torch.testing.assert_close(z * factor, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(log_det, expected_log_det - 30 * PLANES * torch.tensor(factor).double().log())
    with torch.no_grad():
        # z = (x + b)·exp(s) is theirs with shift b·exp(s).
        theirs.log_scale.copy_(ours.log_scale)
        theirs.shift.copy_(ours.shift * ours.log_scale.exp())
    torch.testing.assert_close(theirs(x), ours(x, cond), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(theirs.inverse(x)[0], ours.inverse(x, cond), rtol=1e-9, atol=1e-9)


def test_squeeze_takes_cells_row_by_row_and_back() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert squeeze(x)[0, :, 0, 1].tolist() == [2, 3, 6, 7]
    assert torch.equal(unsqueeze(squeeze(x)), x)


def test_squeeze_refuses_odd_sizes() -> None:
    with pytest.raises(DataError, match="even height and width; got 3×4"):
        squeeze(torch.zeros(1, 1, 3, 4))
    with pytest.raises(DataError, match="multiple of 4 planes; got 6"):
        unsqueeze(torch.zeros(1, 6, 2, 2))
