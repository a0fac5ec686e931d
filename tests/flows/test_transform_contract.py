"""What every transform promises, checked on every line of `transform_table`."""

import pytest
import torch
from transform_table import TRANSFORMS, Case, as_dtype, conditions, made, noise_like, single

BATCH = 3

each_transform = pytest.mark.parametrize("case", TRANSFORMS.values(), ids=TRANSFORMS.keys())


@each_transform
def test_round_trip_at_every_size(case: Case) -> None:
    transform = made(case)
    for height, width in case.sizes:
        cond = conditions(BATCH, case.planes, height, width)
        x = noise_like(cond)
        z, log_det = transform(x, cond)
        assert z.shape == x.shape
        assert log_det.shape == (BATCH,)
        torch.testing.assert_close(transform.inverse(z, cond), x, rtol=1e-8, atol=1e-9)
        torch.testing.assert_close(transform(transform.inverse(x, cond), cond)[0], x, rtol=1e-8, atol=1e-9)


@each_transform
def test_is_no_identity(case: Case) -> None:
    cond = conditions(BATCH, case.planes, *case.sizes[0])
    x = noise_like(cond)
    assert (made(case)(x, cond)[0] - x).abs().max() > 1e-3


@each_transform
@pytest.mark.parametrize("size", [0, 1])
def test_log_det_is_the_jacobian_s_row_by_row(case: Case, size: int) -> None:
    transform = made(case)
    cond = conditions(BATCH, case.planes, *case.sizes[size])
    x = noise_like(cond)
    _, log_det = transform(x, cond)
    for row in range(BATCH):
        alone = single(cond, row)
        jacobian = torch.autograd.functional.jacobian(
            lambda flat, alone=alone: transform(flat.reshape(alone.clean.shape), alone)[0].flatten(), x[row].flatten()
        )
        expected = torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(log_det[row], expected, rtol=1e-9, atol=1e-9)


@each_transform
def test_an_elementwise_transform_has_a_positive_diagonal_jacobian_and_no_other_has(case: Case) -> None:
    transform = made(case)
    alone = single(conditions(BATCH, case.planes, *case.sizes[0]), 1)
    x = noise_like(alone).flatten()
    jacobian = torch.autograd.functional.jacobian(
        lambda flat: transform(flat.reshape(alone.clean.shape), alone)[0].flatten(), x
    )
    diagonal = jacobian.diagonal()
    is_one = bool((diagonal > 0).all()) and torch.equal(jacobian, diagonal.diag())
    # A scale of one plane could turn to a negative one in training: it does not promise.
    assert transform.elementwise == (is_one and len(x) > 1 and "Conv1x1" not in type(transform).__name__)


@each_transform
def test_batch_of_mixed_cameras_and_isos_equals_singles(case: Case) -> None:
    transform = made(case)
    cond = conditions(5, case.planes, *case.sizes[0])
    x = noise_like(cond)
    z, log_det = transform(x, cond)
    back = transform.inverse(x, cond)
    for row in range(5):
        z_alone, log_det_alone = transform(x[row : row + 1], single(cond, row))
        torch.testing.assert_close(z[row : row + 1], z_alone, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(log_det[row : row + 1], log_det_alone, rtol=1e-10, atol=1e-12)
        back_alone = transform.inverse(x[row : row + 1], single(cond, row))
        torch.testing.assert_close(back[row : row + 1], back_alone, rtol=1e-8, atol=1e-10)


@each_transform
def test_every_parameter_gets_a_gradient(case: Case) -> None:
    transform = made(case)
    cond = conditions(5, case.planes, *case.sizes[-1])
    z, log_det = transform(noise_like(cond), cond)
    (z.square().sum() - log_det.sum()).backward()
    for name, parameter in transform.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.numel() == 0 or parameter.grad.abs().max() > 0, name


@each_transform
def test_gradient_flows_to_the_input(case: Case) -> None:
    transform = made(case)
    cond = conditions(2, case.planes, *case.sizes[0])
    for direction in (lambda x: transform(x, cond)[0], lambda z: transform.inverse(z, cond)):
        x = noise_like(cond).requires_grad_()
        direction(x).sum().backward()
        assert x.grad is not None
        assert torch.isfinite(x.grad).all()


@each_transform
def test_forward_changes_nothing_and_repeats(case: Case) -> None:
    transform = made(case)
    cond = conditions(BATCH, case.planes, *case.sizes[-1])
    x = noise_like(cond)
    before = {name: value.clone() for name, value in transform.state_dict().items()}
    kept = x.clone()
    first, second = transform(x, cond), transform(x, cond)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert torch.equal(transform.inverse(x, cond), transform.inverse(x, cond))
    assert torch.equal(x, kept)
    for name, value in transform.state_dict().items():
        assert torch.equal(value, before[name]), name


@each_transform
def test_state_dict_makes_the_same_transform(case: Case) -> None:
    transform, other = made(case, seed=1), made(case, seed=5)
    cond = conditions(BATCH, case.planes, *case.sizes[0])
    x = noise_like(cond)
    assert not torch.equal(transform(x, cond)[0], other(x, cond)[0])
    other.load_state_dict(transform.state_dict())
    assert torch.equal(transform(x, cond)[0], other(x, cond)[0])


@each_transform
def test_float32_round_trip_to_100_sigma(case: Case) -> None:
    """Relative to the largest value of the sample, in both directions, and finite everywhere."""
    transform = made(case).float()
    cond = as_dtype(conditions(5, case.planes, 7, 4), torch.float32)
    for scale in (1.0, 10.0, 30.0):
        x = noise_like(cond, scale=scale).clamp(-100, 100)
        x[:, :, 0, 0] = 3.3 * scale
        z, log_det = transform(x, cond)
        assert log_det.dtype == torch.float32
        assert torch.isfinite(z).all()
        error = (transform.inverse(z, cond) - x).abs().flatten(1).max(1).values
        assert (error < 1e-4 * x.abs().flatten(1).max(1).values).all(), error


@each_transform
def test_reach_holds(case: Case) -> None:
    """What lies farther than `reach` does not change an output, in either direction."""
    transform = made(case)
    reach = transform.reach
    if reach >= 12:
        return
    cond = conditions(1, case.planes, 26, 27)
    x = noise_like(cond)
    moved = x.clone()
    moved[:, :, 13, 14] += 1.0
    touched = (torch.arange(26)[:, None] - 13).abs().maximum((torch.arange(27) - 14).abs()) <= reach
    row_wise = getattr(transform, "whole_rows", False)
    if row_wise:
        touched = ((torch.arange(26)[:, None] - 13).abs() <= reach).expand(26, 27)
    for direction in (lambda x: transform(x, cond)[0], lambda z: transform.inverse(z, cond)):
        change = (direction(moved) - direction(x)).abs().amax((0, 1))
        assert change[~touched].max() < 1e-10


@each_transform
def test_reach_is_no_farther_than_it_has_to_be(case: Case) -> None:
    """Tiles overlap by it.  Of one of the four places of a cell something changes as far away."""
    transform = made(case)
    reach = transform.reach
    if not 0 < reach < 12:
        return
    cond = conditions(1, case.planes, 26, 27)
    x = noise_like(cond)
    farthest = 0
    for row, column in ((13, 14), (12, 14), (13, 13), (12, 13)):
        moved = x.clone()
        moved[:, :, row, column] += 1.0
        down, across = (torch.arange(26)[:, None] - row).abs(), (torch.arange(27) - column).abs()
        away = down.expand(26, 27) if getattr(transform, "whole_rows", False) else down.maximum(across)
        for direction in (lambda x: transform(x, cond)[0], lambda z: transform.inverse(z, cond)):
            change = (direction(moved) - direction(x)).abs().amax((0, 1))
            farthest = max(farthest, int(away[change > 1e-12].max()))
    assert farthest == reach
