"""What deepinv asks of each of its noise models, after its own tests, asked of ours."""

import copy
import pickle
from typing import Any

import pytest
import torch
from adapted import adapter, on_pictures, on_planes
from torch import Tensor, nn

from noiseflow.core.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(rng: torch.Generator | None = None, **how: Any) -> Any:
    return adapter("deepinv")(on_planes(), rng=rng, **how)


def clean(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.full(shape or (2, 4, 6, 8), 0.3, dtype=dtype)


def test_it_is_a_noise_model() -> None:
    made = noise()
    from deepinv.physics import NoiseModel

    assert isinstance(made, NoiseModel)
    assert isinstance(made, nn.Module)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_shape_and_dtype_stay(dtype: torch.dtype) -> None:
    given = clean(dtype=dtype)
    found = noise()(given)
    assert (found.shape, found.dtype) == (given.shape, dtype)
    assert torch.equal(given, clean(dtype=dtype))


def test_a_seed_of_the_call_and_of_the_generator_decide() -> None:
    made = noise(seeded())
    assert torch.equal(made(clean(), seed=3), made(clean(), seed=3))
    assert not torch.equal(made(clean(), seed=3), made(clean(), seed=4))
    assert torch.equal(noise(seeded(5))(clean()), noise(seeded(5))(clean()))
    one = noise(seeded(5))
    assert not torch.equal(one(clean()), one(clean()))


def test_the_generator_can_be_reset() -> None:
    made = noise(seeded(5))
    first = made(clean())
    made.reset_rng()
    assert torch.equal(made(clean()), first)


def test_a_seed_without_a_generator_is_deepinvs_affair() -> None:
    made = noise()
    from deepinv.physics import GaussianNoise

    outcomes = []
    for model in (GaussianNoise(0.1), made):
        try:
            outcomes.append(torch.equal(model(clean(), seed=1), model(clean(), seed=1)))
        except (ValueError, RuntimeError, TypeError) as error:
            outcomes.append(type(error))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_batches(batch: int) -> None:
    assert noise()(clean(batch, 4, 6, 8)).shape == (batch, 4, 6, 8)


def test_in_physics() -> None:
    made = noise(seeded())
    import deepinv

    physics = deepinv.physics.Denoising(made)
    assert physics(clean()).shape == clean().shape
    torch.testing.assert_close(physics.A(clean()), clean())
    blur = deepinv.physics.BlurFFT((4, 6, 8), torch.ones(1, 1, 3, 3) / 9, noise_model=noise(seeded()))
    assert blur(clean()).shape == clean().shape
    assert not torch.equal(blur(clean()), blur.A(clean()))


def test_parameters_reach_it_through_the_physics() -> None:
    made = noise(seeded())
    from deepinv.physics import Denoising

    physics = Denoising(made)
    physics.update(iso=200.0)
    assert made.settings == {"iso": 200.0}
    physics(clean(), iso=400.0, camera="A")
    assert made.settings == {"iso": 400.0, "camera": "A"}
    with pytest.raises(DataError, match="keep_last=True"):
        physics(clean(), exposure=0.5)


@pytest.mark.parametrize("kind", ["deepcopy", "pickle", "clone"])
def test_copies_draw_the_same(kind: str) -> None:
    made = noise(seeded(4))
    if kind == "clone":
        from deepinv.physics import Denoising

        other = Denoising(made).clone().noise_model
    else:
        other = copy.deepcopy(made) if kind == "deepcopy" else pickle.loads(pickle.dumps(made))
    assert torch.equal(other(clean()), made(clean()))


def test_after_another_noise() -> None:
    made = noise(seeded())
    from deepinv.physics import GaussianNoise

    both = GaussianNoise(0.0) * made
    assert both(clean()).shape == clean().shape


def test_nothing_to_train_and_nothing_to_save() -> None:
    made = noise(seeded())
    from deepinv.physics import GaussianNoise

    assert not list(made.parameters())
    # The state of its generator is deepinv's own.
    assert {*made.state_dict()} < {*GaussianNoise(0.1, rng=seeded()).state_dict()}


def test_it_moves_with_the_physics() -> None:
    made = noise()
    from deepinv.physics import Denoising

    physics = Denoising(made).to("cpu")
    assert physics(clean()).device.type == "cpu"


def test_gradients_agree_with_finite_differences() -> None:
    made = noise(seeded())
    point = clean(1, 4, 2, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda given: made(given, seed=1), (point,))


def test_pictures_keep_their_target() -> None:
    made = adapter("deepinv")(on_pictures(), keep_last=True)
    assert made(clean(2, 3, 6, 8)).shape == made.last.clean.shape
