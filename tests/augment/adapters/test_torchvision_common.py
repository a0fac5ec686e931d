"""What torchvision asks of each of its transforms (v2), after its own checks, asked of ours."""

import copy
import pickle
from typing import Any

import pytest
import torch
from adapted import adapter, on_planes
from torch import Tensor

pytestmark = pytest.mark.filterwarnings("ignore")


def noise(**how: Any) -> Any:
    return adapter("torchvision")(on_planes(), **how)


def clean(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.full(shape, 0.3, dtype=dtype)


def kinds() -> dict[str, Any]:
    from torchvision import tv_tensors

    return {
        "plain": clean(4, 6, 8),
        "image": tv_tensors.Image(clean(4, 6, 8)),
        "images": tv_tensors.Image(clean(2, 4, 6, 8)),
        "video": tv_tensors.Video(clean(3, 4, 6, 8)),
        "videos": tv_tensors.Video(clean(2, 3, 4, 6, 8)),
    }


@pytest.mark.parametrize("kind", ["plain", "image", "images", "video", "videos"])
def test_type_shape_and_input_stay(kind: str) -> None:
    made = noise()
    given = kinds()[kind]
    before = given.clone()
    found = made(given)
    assert type(found) is type(given)
    assert found.shape == given.shape
    assert found.dtype == given.dtype
    assert torch.equal(given, before)
    assert not torch.equal(found, given)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_stays(dtype: torch.dtype) -> None:
    assert noise()(clean(4, 6, 8, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("shape", [(0, 4, 6, 8), (2, 0, 4, 6, 8), (1, 4, 2, 2)])
def test_empty_batches_and_small_images(shape: tuple[int, ...]) -> None:
    assert noise()(clean(*shape)).shape == shape


def test_what_is_no_image_passes_unchanged() -> None:
    made = noise()
    from torchvision import tv_tensors

    mask = tv_tensors.Mask(torch.ones(6, 8, dtype=torch.bool))
    boxes = tv_tensors.BoundingBoxes([[1, 1, 4, 4]], format="XYXY", canvas_size=(6, 8))
    sample = {
        "image": tv_tensors.Image(clean(4, 6, 8)),
        "mask": mask,
        "boxes": boxes,
        "label": 3,
        "name": "a",
        "nothing": None,
        "embedding": torch.ones(5),
    }
    found = made(sample)
    assert list(found) == list(sample)
    assert not torch.equal(found["image"], sample["image"])
    for name in ("mask", "boxes", "embedding"):
        assert found[name] is sample[name]
    assert (found["label"], found["name"], found["nothing"]) == (3, "a", None)


def test_of_several_plain_tensors_the_first_is_the_image() -> None:
    first, second = noise()(clean(4, 6, 8), torch.ones(4, 6, 8))
    assert not torch.equal(first, clean(4, 6, 8))
    assert torch.equal(second, torch.ones(4, 6, 8))


def test_images_of_one_sample_have_noise_of_their_own_number() -> None:
    made = noise()
    from torchvision import tv_tensors

    torch.manual_seed(0)
    left, right = made(tv_tensors.Image(clean(4, 6, 8)), tv_tensors.Image(clean(4, 6, 8)))
    # One draw of parameters for a sample, as of every transform: the same noise in both.
    assert torch.equal(left, right)


@pytest.mark.parametrize("kind", ["deepcopy", "pickle"])
def test_copies_draw_the_same(kind: str) -> None:
    made = noise()
    other = copy.deepcopy(made) if kind == "deepcopy" else pickle.loads(pickle.dumps(made))
    torch.manual_seed(2)
    expected = made(clean(4, 6, 8))
    torch.manual_seed(2)
    assert torch.equal(other(clean(4, 6, 8)), expected)


def test_seeds_decide() -> None:
    made, found = noise(), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(made(clean(4, 6, 8)))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_containers_take_it() -> None:
    made = noise()
    from torchvision.transforms import v2

    for container in (
        v2.Compose([made]),
        v2.RandomApply([made], p=1.0),
        v2.RandomChoice([made]),
        v2.RandomOrder([made]),
    ):
        assert not torch.equal(container(clean(4, 6, 8)), clean(4, 6, 8))
    assert torch.equal(v2.RandomApply([made], p=0.0)(clean(4, 6, 8)), clean(4, 6, 8))


def test_gradients_pass() -> None:
    point = clean(4, 6, 8).requires_grad_()
    noise()(point).sum().backward()
    assert point.grad is not None
    assert 0 < float((point.grad - 1).abs().max()) < 0.5


def test_its_name_and_state() -> None:
    made = noise()
    assert repr(made).startswith("CameraNoise(")
    assert not made.state_dict()
    assert not list(made.parameters())
