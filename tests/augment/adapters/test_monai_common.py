"""What MONAI asks of each of its dictionary transforms, after its own tests, asked of ours."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from adapted import adapter, on_pictures, on_planes

pytestmark = pytest.mark.filterwarnings("ignore")


def noise(keys: Any = "image", **how: Any) -> Any:
    return adapter("monai", "RandCameraNoised")(keys, on_planes(), **how)


def sample(dtype: Any = np.float32) -> dict[str, Any]:
    return {"image": np.full((4, 6, 8), 0.3, dtype), "label": 3}


def test_it_is_a_random_dictionary_transform() -> None:
    made = noise()
    from monai.transforms import MapTransform, RandomizableTransform

    assert isinstance(made, MapTransform)
    assert isinstance(made, RandomizableTransform)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_keep_shape_and_dtype(dtype: Any) -> None:
    given = sample(dtype)
    found = noise()(given)
    assert isinstance(found["image"], np.ndarray)
    assert (found["image"].shape, found["image"].dtype) == ((4, 6, 8), dtype)
    assert np.array_equal(given["image"], sample(dtype)["image"])
    assert found["label"] == 3


def test_tensors_keep_their_kind_and_their_meta() -> None:
    made = noise()
    from monai.data import MetaTensor

    affine = torch.diag(torch.tensor([2.0, 3.0, 1.0, 1.0]))
    given = MetaTensor(torch.full((4, 6, 8), 0.3), affine=affine, meta={"name": "a"})
    found = made({"image": given})["image"]
    assert isinstance(found, MetaTensor)
    torch.testing.assert_close(found.affine, given.affine)
    assert found.meta["name"] == "a"
    plain = made({"image": torch.full((4, 6, 8), 0.3)})["image"]
    assert type(plain) is torch.Tensor


def test_a_random_state_decides() -> None:
    found = [noise().set_random_state(seed)(sample())["image"] for seed in (1, 1, 2)]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    one = noise().set_random_state(1)
    assert not np.array_equal(one(sample())["image"], one(sample())["image"])
    state = np.random.RandomState(1)
    assert np.array_equal(noise().set_random_state(state=state)(sample())["image"], found[0])


def test_all_keys_have_one_draw() -> None:
    given = {"left": sample()["image"], "right": sample()["image"]}
    found = noise(["left", "right"])(given)
    assert np.array_equal(found["left"], found["right"])


def test_missing_keys() -> None:
    with pytest.raises(KeyError, match="right"):
        noise(["image", "right"])(sample())
    assert "right" not in noise(["image", "right"], allow_missing_keys=True)(sample())


@pytest.mark.parametrize("prob", [0.0, 0.5, 1.0])
def test_probability(prob: float) -> None:
    made = noise(prob=prob).set_random_state(0)
    changed = [not np.array_equal(made(sample())["image"], sample()["image"]) for _ in range(40)]
    # Of 40 draws at one half, fewer than 6 or more than 34 come once in a million.
    assert {0.0: sum(changed) == 0, 0.5: 6 <= sum(changed) <= 34, 1.0: sum(changed) == 40}[prob]


@pytest.mark.parametrize("kind", ["deepcopy", "pickle"])
def test_copies_draw_the_same(kind: str) -> None:
    made = noise()
    other = copy.deepcopy(made) if kind == "deepcopy" else pickle.loads(pickle.dumps(made))
    found = [each.set_random_state(5)(sample())["image"] for each in (made, other)]
    assert np.array_equal(found[0], found[1])


def test_groups_take_it() -> None:
    made = noise()
    from monai.transforms import Compose, OneOf, RandomOrder, SomeOf

    for group in (Compose([made]), OneOf([made]), RandomOrder([made]), SomeOf([made], num_transforms=1)):
        assert not np.array_equal(group(sample())["image"], sample()["image"])


def test_workers_draw_their_own() -> None:
    made = noise()
    from monai.data import DataLoader, Dataset

    loader = DataLoader(Dataset([sample()] * 4, made), batch_size=1, num_workers=2)
    found = [batch["image"] for batch in loader]
    assert len(found) == 4
    assert len({each.numpy().tobytes() for each in found}) == 4


def test_pictures_keep_their_target() -> None:
    made = adapter("monai", "RandCameraNoised")("image", on_pictures(), clean_suffix="_clean")
    found = made({"image": np.full((3, 6, 8), 0.3, np.float32)})
    assert found["image_clean"].shape == found["image"].shape
