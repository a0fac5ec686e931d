"""A model is a module as torch's own: copied, pickled, saved, made on the meta device, in any precision."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from model_table import CAMERAS, TRAINED, generator, randomised_model
from torch import Tensor

from noiseflow.core.errors import DataError
from noiseflow.flows import Conditions
from noiseflow.models import NoiseModel, build, load, save

each = pytest.mark.parametrize("name", TRAINED)


def model_of(name: str) -> NoiseModel:
    """In float32, with random weights; of physics_flow also couplings, whose masks must travel too."""
    return randomised_model(name, "bayer", **({"couplings": 2} if name == "physics_flow" else {})).float()


def drawn(model: NoiseModel) -> Tensor:
    clean = torch.rand(2, 4, 6, 5, generator=generator(1))
    return model.sample(Conditions(clean, torch.tensor([150.0, 700.0]), [CAMERAS[0], CAMERAS[2]]), generator(2))


@each
def test_copies_and_pickles_draw_the_same(name: str) -> None:
    model = model_of(name)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(file, weights_only=False)):
        assert torch.equal(drawn(other), drawn(model))


@each
@pytest.mark.parametrize("assign", [False, True])
def test_a_model_made_without_memory_is_whole_once_loaded(name: str, assign: bool) -> None:
    model = model_of(name)
    with torch.device("meta"):
        other = build(model.spec)
    if not assign:
        other.to_empty(device="cpu")
    other.load_state_dict(model.state_dict(), assign=assign)
    assert torch.equal(drawn(other.eval()), drawn(model))


def test_constants_keep_their_digits_through_half_precision() -> None:
    model = model_of("physics_flow")
    assert torch.equal(
        copy.deepcopy(model).double().flow.transforms[0].log_isos,
        build(model.spec).double().flow.transforms[0].log_isos,
    )


@each
def test_making_and_loading_leave_the_global_numbers_alone(name: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    save(model_of(name), tmp_path / "run")
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load(tmp_path / "run")
    assert torch.equal(torch.rand(4), expected)


@each
@pytest.mark.filterwarnings("ignore:ISO 102400")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_precision_of_the_clean_signal(name: str, dtype: torch.dtype) -> None:
    model = model_of(name)
    clean = torch.rand(2, 4, 6, 5, generator=generator(1)).to(dtype)
    noise = model.sample(Conditions(clean, 102_400.0, CAMERAS[1]), generator(2))
    assert noise.dtype == dtype
    exact = model.sample(Conditions(clean.float(), 102_400.0, CAMERAS[1]), generator(2))
    assert torch.isfinite(model.log_prob(noise, Conditions(clean, 102_400.0, CAMERAS[1]))).all()
    if dtype == torch.float64 and name in ("gaussian", "nlf"):
        return  # without nets they draw and compute in float64
    eps = max(torch.finfo(dtype).eps, 1e-6)
    torch.testing.assert_close(noise.float(), exact, rtol=2 * eps, atol=2 * eps * float(exact.abs().max()))


@each
def test_channels_last_slices_and_empty_batches(name: str) -> None:
    model = model_of(name)
    clean = torch.rand(2, 4, 6, 5, generator=generator(1))
    wide = torch.rand(2, 4, 12, 10, generator=generator(1))
    wide[:, :, ::2, ::2] = clean
    expected = drawn(model)
    for same in (clean.contiguous(memory_format=torch.channels_last), wide[:, :, ::2, ::2]):
        cond = Conditions(same, torch.tensor([150.0, 700.0]), [CAMERAS[0], CAMERAS[2]])
        torch.testing.assert_close(model.sample(cond, generator(2)), expected, rtol=1e-6, atol=1e-8)
    empty = Conditions(clean[:0], 100.0, CAMERAS[0])
    assert model.sample(empty, generator(2)).shape == (0, 4, 6, 5)
    assert model.log_prob(clean[:0], empty).shape == (0,)


def test_what_numpy_calls_numbers() -> None:
    model = model_of("nlf")
    clean = torch.full((2, 4, 6, 5), 0.2)
    expected = model.sample(Conditions(clean, 400.0, 2), generator(2))
    for camera in (np.int64(2), np.array([2, 2]), [np.int32(2), 2], "C", torch.tensor(2)):
        assert torch.equal(model.sample(Conditions(clean, np.float64(400), camera), generator(2)), expected)


def test_misuse_says_what_to_do() -> None:
    model = model_of("nlf")
    clean = torch.full((1, 4, 6, 5), 0.2)
    with pytest.raises(DataError, match=r"clean: expected the normalised signal.*got 20 to 300.*black level"):
        model.sample(Conditions(torch.tensor([20.0, 300.0]).expand(1, 4, 3, 2), 100.0))
    with pytest.raises(DataError, match=r"clean: expected floating point.*normalise"):
        model.sample(Conditions(torch.ones(1, 4, 4, 4, dtype=torch.int32), 100.0))
    with pytest.raises(DataError, match=r"generator: expected a torch.Generator; got 0"):
        model.sample(Conditions(clean, 100.0), 0)  # type: ignore[arg-type]
