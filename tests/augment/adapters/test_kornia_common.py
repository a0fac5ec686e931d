"""What kornia asks of each of its augmentations, after its own common tests, asked of ours."""

import copy
import pickle
from typing import Any

import pytest
import torch
from adapted import adapter, on_pictures, on_planes
from torch import Tensor, nn

pytestmark = pytest.mark.filterwarnings("ignore")


def noise(**how: Any) -> Any:
    return adapter("kornia", "RandomCameraNoise")(on_planes(), **how)


def clean(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.full(shape, 0.3, dtype=dtype)


def test_smoke_and_its_name() -> None:
    made = noise(p=0.5, same_on_batch=True, keepdim=True)
    assert isinstance(made, nn.Module)
    assert repr(made).startswith("RandomCameraNoise(")
    assert "p=0.5" in repr(made)


@pytest.mark.parametrize("keepdim", [True, False])
@pytest.mark.parametrize("shape", [(4, 5, 6), (1, 4, 5, 6), (3, 4, 5, 6)])
def test_cardinality(shape: tuple[int, ...], keepdim: bool) -> None:
    found = noise(p=1.0, keepdim=keepdim)(clean(*shape))
    assert found.shape == (shape if keepdim or len(shape) == 4 else (1, *shape))


def test_probability_none_and_all() -> None:
    given = clean(4, 4, 5, 6)
    assert torch.equal(noise(p=0.0)(given), given)
    assert ((noise(p=1.0)(given) != given).flatten(1).any(1)).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_dtype_stays(dtype: torch.dtype, p: float) -> None:
    torch.manual_seed(3)
    assert noise(p=p)(clean(4, 4, 5, 6, dtype=dtype)).dtype == dtype


def test_the_input_stays_as_it_is() -> None:
    given = clean(2, 4, 5, 6)
    noise()(given)
    assert torch.equal(given, clean(2, 4, 5, 6))


def test_in_a_sequential_it_is_itself() -> None:
    once, given = noise(), clean(2, 4, 5, 6)
    torch.manual_seed(1)
    expected = once(given)
    torch.manual_seed(1)
    assert torch.equal(nn.Sequential(once)(given), expected)


def test_parameters_are_drawn_once_and_replayed() -> None:
    made, given = noise(p=0.5), clean(8, 4, 5, 6)
    expected = made(given)
    assert set(made._params) >= {"batch_prob", "number", "forward_input_shape"}
    assert torch.equal(made(given, params=made._params), expected)
    assert torch.equal(noise(p=0.5)(given, params=made._params), expected)
    drawn = made.forward_parameters(given.shape)
    assert drawn["number"].shape == (8,)


def test_the_matrix_is_the_identity_and_the_inverse_does_nothing() -> None:
    made, given = noise(), clean(2, 4, 5, 6)
    from kornia.augmentation import AugmentationSequential

    made(given)
    assert torch.equal(made.transform_matrix, torch.eye(3).expand(2, 3, 3))
    pipeline = AugmentationSequential(made, data_keys=["input"])
    noisy = pipeline(given)
    assert torch.equal(pipeline.inverse(noisy), noisy)


def test_gradients_agree_with_finite_differences() -> None:
    made = noise()
    point = clean(2, 4, 2, 3, dtype=torch.float64).requires_grad_()
    params = made.forward_parameters(point.shape)
    assert torch.autograd.gradcheck(lambda given: made(given, params=params), (point,), raise_exception=True)


@pytest.mark.parametrize("kind", ["deepcopy", "pickle"])
def test_copies_draw_the_same(kind: str) -> None:
    made = noise()
    other = copy.deepcopy(made) if kind == "deepcopy" else pickle.loads(pickle.dumps(made))
    torch.manual_seed(2)
    expected = made(clean(2, 4, 5, 6))
    torch.manual_seed(2)
    assert torch.equal(other(clean(2, 4, 5, 6)), expected)


def test_nothing_to_train_and_nothing_to_save() -> None:
    made = noise()
    assert not list(made.parameters())
    assert not made.state_dict()


@pytest.mark.parametrize("same", [True, False])
def test_same_on_batch(same: bool) -> None:
    found = noise(same_on_batch=same)(clean(3, 4, 5, 6))
    assert torch.equal(found[0], found[1]) is same


@pytest.mark.parametrize("batch", [0, 1])
def test_batches_of_none_and_one(batch: int) -> None:
    assert noise(p=1.0)(clean(batch, 4, 5, 6)).shape == (batch, 4, 5, 6)


def test_masks_boxes_and_points_pass_a_pipeline_unchanged() -> None:
    made = noise()
    from kornia.augmentation import AugmentationSequential

    pipeline = AugmentationSequential(made, data_keys=["input", "mask", "bbox_xyxy", "keypoints"])
    mask, points = torch.ones(2, 1, 5, 6), torch.tensor([[[1.0, 2.0]], [[3.0, 1.0]]])
    boxes = torch.tensor([[[0.0, 0.0, 3.0, 3.0]], [[1.0, 1.0, 4.0, 4.0]]])
    noisy, *others = pipeline(clean(2, 4, 5, 6), mask, boxes, points)
    assert not torch.equal(noisy, clean(2, 4, 5, 6))
    for found, given in zip(others, (mask, boxes, points), strict=True):
        torch.testing.assert_close(found, given)


@pytest.mark.parametrize("same_on_frame", [True, False])
def test_videos(same_on_frame: bool) -> None:
    made = noise(same_on_batch=same_on_frame)
    from kornia.augmentation import VideoSequential

    found = VideoSequential(made, data_format="BCTHW", same_on_frame=same_on_frame)(clean(2, 4, 3, 5, 6))
    assert found.shape == (2, 4, 3, 5, 6)
    assert torch.equal(found[0, :, 0], found[0, :, 1]) is same_on_frame


def test_others_can_choose_it() -> None:
    made = noise()
    from kornia.augmentation import AugmentationSequential, RandomHorizontalFlip

    some = AugmentationSequential(made, RandomHorizontalFlip(p=1.0), data_keys=["input"], random_apply=1)
    assert some(clean(2, 4, 5, 6)).shape == (2, 4, 5, 6)


def test_pictures_keep_their_target() -> None:
    made = adapter("kornia", "RandomCameraNoise")(on_pictures(), keep_last=True)
    noisy = made(clean(2, 3, 6, 8))
    assert made.last.clean.shape == noisy.shape
