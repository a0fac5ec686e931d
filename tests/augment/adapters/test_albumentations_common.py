"""What albumentations asks of each of its transforms, after its own tests, asked of ours."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapted import adapter, mono, on_pictures, on_planes
from model_table import spec_of
from numpy.typing import NDArray

from noiseflow.core.errors import DataError
from noiseflow.models import build, save

pytestmark = pytest.mark.filterwarnings("ignore")


def noise(**how: Any) -> Any:
    return adapter("albumentations")(on_planes(), **({"p": 1.0} | how))


def composed(*steps: Any, **how: Any) -> Any:
    import albumentations

    return albumentations.Compose(list(steps), **({"seed": 1} | how))


def clean(*shape: int, dtype: Any = np.float32) -> NDArray[Any]:
    return np.full(shape or (6, 8, 4), 0.3, dtype)


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 1)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8, np.uint16])
def test_one_plane_keeps_shape_and_dtype(shape: tuple[int, ...], dtype: Any) -> None:
    made = adapter("albumentations")(mono(), p=1.0)
    given = np.full(shape, 100 if np.issubdtype(dtype, np.integer) else 0.3, dtype)
    found = made(image=given)["image"]
    assert (found.shape, found.dtype) == (shape, dtype)


def test_the_input_stays_and_the_result_is_contiguous() -> None:
    made, given = noise(), clean()
    found = made(image=given)["image"]
    assert np.array_equal(given, clean())
    assert found.flags.c_contiguous
    strided = np.ascontiguousarray(clean(12, 8, 4))[::2]
    assert made(image=strided)["image"].shape == (6, 8, 4)


def test_probability_none_gives_the_image_itself() -> None:
    given = clean()
    assert np.array_equal(noise(p=0.0)(image=given)["image"], given)


def test_masks_boxes_and_points_stay() -> None:
    made = noise()
    import albumentations

    pipeline = composed(
        made,
        bbox_params=albumentations.BboxParams("pascal_voc", label_fields=["labels"]),
        keypoint_params=albumentations.KeypointParams("xy"),
    )
    mask = np.ones((6, 8), np.uint8)
    found = pipeline(image=clean(), mask=mask, masks=[mask], bboxes=[[1, 1, 4, 4]], labels=[2], keypoints=[[2.0, 3.0]])
    assert np.array_equal(found["mask"], mask)
    np.testing.assert_allclose(found["bboxes"], [[1, 1, 4, 4]], atol=1e-5)
    np.testing.assert_allclose(found["keypoints"], [[2.0, 3.0]], atol=1e-5)
    assert not np.array_equal(found["image"], clean())


def test_a_second_image_gets_the_same_draw() -> None:
    pipeline = composed(noise(), additional_targets={"other": "image"})
    found = pipeline(image=clean(), other=clean())
    assert np.array_equal(found["image"], found["other"])


def test_a_stack_of_images() -> None:
    found = composed(noise())(images=clean(3, 6, 8, 4))["images"]
    assert np.shape(found) == (3, 6, 8, 4)
    assert not np.array_equal(found, clean(3, 6, 8, 4))


def test_seeds_decide() -> None:
    made = [composed(noise(), seed=seed)(image=clean())["image"] for seed in (1, 1, 2)]
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])
    pipeline = composed(noise())
    assert not np.array_equal(pipeline(image=clean())["image"], pipeline(image=clean())["image"])


def test_a_replay_repeats_the_noise(tmp_path: Path) -> None:
    camera_noise = adapter("albumentations")
    import albumentations

    save(build(spec_of("nlf", "bayer")), tmp_path / "run")
    replayed = albumentations.ReplayCompose([camera_noise(str(tmp_path / "run"), p=1.0)])
    first = replayed(image=clean())
    assert not np.array_equal(replayed(image=clean())["image"], first["image"])
    again = albumentations.ReplayCompose.replay(first["replay"], image=clean())
    assert np.array_equal(again["image"], first["image"])


def test_a_replay_is_a_text_and_so_needs_a_run_folder() -> None:
    # By design: albumentations keeps a replay as a dictionary of texts, which holds no model.
    made = noise()
    import albumentations

    with pytest.raises(DataError, match=r"give it a run folder: CameraNoise\('run/'\)$"):
        albumentations.ReplayCompose([made])(image=clean())


@pytest.mark.parametrize("kind", ["deepcopy", "pickle"])
def test_copies_draw_the_same(kind: str) -> None:
    pipeline = composed(noise())
    other = copy.deepcopy(pipeline) if kind == "deepcopy" else pickle.loads(pickle.dumps(pipeline))
    for each in (pipeline, other):
        each.set_random_seed(5)
    assert np.array_equal(pipeline(image=clean())["image"], other(image=clean())["image"])


def test_others_can_choose_it() -> None:
    made = noise()
    import albumentations

    for group in (albumentations.OneOf([made], p=1.0), albumentations.SomeOf([made], n=1, p=1.0)):
        assert not np.array_equal(composed(group)(image=clean())["image"], clean())


def test_what_is_no_image_is_refused_by_name() -> None:
    with pytest.raises((TypeError, ValueError, KeyError)):
        composed(noise())(image="a picture")


def test_pictures_keep_their_target() -> None:
    made = adapter("albumentations")(on_pictures(), p=1.0, clean_key="clean")
    found = made(image=clean(6, 8, 3))
    assert found["clean"].shape == found["image"].shape
