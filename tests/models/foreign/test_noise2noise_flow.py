"""Parity with the authors' own code of Noise2NoiseFlow, by its golden file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from noiseflow.core.errors import ModelError
from noiseflow.flows.conditions import Conditions
from noiseflow.models import load, save
from noiseflow.models.flow.noise_flow import NoiseFlow
from noiseflow.models.foreign.formats import format_of, import_model, renamed
from noiseflow.models.foreign.source import ForeignSource

CASES = range(13)


@pytest.fixture(scope="module")
def weights(shared_data: Path) -> Path:
    return shared_data / "published" / "n2nf_weights.npz"


@pytest.fixture(scope="module")
def published(weights: Path) -> NoiseFlow:
    model = import_model(ForeignSource(weights))
    assert isinstance(model, NoiseFlow)
    return model


@pytest.fixture(scope="module")
def golden(shared_data: Path) -> dict[str, np.ndarray]:
    with np.load(shared_data / "published" / "n2nf_golden.npz") as arrays:
        return dict(arrays)


def of(golden: dict[str, np.ndarray], name: str, case: int) -> Tensor:
    return torch.from_numpy(golden[name][case])


def condition(golden: dict[str, np.ndarray], case: int) -> Conditions:
    return Conditions(of(golden, "y", case), float(golden["iso"][case]), int(golden["cam"][case]))


def relative(ours: Tensor, theirs: Tensor) -> float:
    """Norm of the difference over that of the values.

    By the largest difference instead, 10 of 13 latents and 10 samples are within 2e-5 and 1e-5, and the others within
    1.04e-4 and 1.8e-5: batch norms with variances of 1e-3 after biases of 6 cancel, so that the authors' own float32
    is that far from float64.
    """
    return float((ours - theirs).norm() / theirs.norm())


def farthest(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_latent_log_det_and_nll_are_the_authors(published: NoiseFlow, golden: dict[str, np.ndarray], case: int) -> None:
    noise, cond = of(golden, "x", case), condition(golden, case)
    z, log_det = published.flow(noise, cond.resolve(published.cameras))
    assert relative(z, of(golden, "z", case)) < 1e-4
    assert farthest(z, of(golden, "z", case)) < 1.2e-4
    assert relative(log_det, of(golden, "logdet", case)) < 1e-4
    assert relative(-published.log_prob(noise, cond), of(golden, "nll", case)) < 1e-4


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_samples_are_the_authors(published: NoiseFlow, golden: dict[str, np.ndarray], case: int) -> None:
    cond = condition(golden, case).resolve(published.cameras)
    x = published.flow.inverse(of(golden, "zin", case), cond)
    assert relative(x, of(golden, "xout", case)) < 1e-5
    assert farthest(x, of(golden, "xout", case)) < 2e-5


@torch.no_grad()
def test_a_run_folder_keeps_it_under_another_name(
    published: NoiseFlow, golden: dict[str, np.ndarray], tmp_path: Path
) -> None:
    save(renamed(published, "IP", "My phone"), tmp_path / "run")
    again = load(tmp_path / "run")
    noise, clean, iso = of(golden, "x", 0), of(golden, "y", 0), float(golden["iso"][0])
    mine = again.log_prob(noise, Conditions(clean, iso, "My phone"))
    assert torch.equal(mine, published.log_prob(noise, Conditions(clean, iso, "IP")))


def test_the_format_is_known_by_the_content(weights: Path, tmp_path: Path) -> None:
    assert format_of(weights) == "noise2noise_flow"
    assert format_of(weights.with_name("noise_flow_weights.npz")) == "noise_flow"
    with np.load(weights) as arrays:
        some = {name: arrays[name] for name in arrays.files if ".17." not in name}
    np.savez(tmp_path / "part.npz", **some)
    with pytest.raises(ModelError, match=r"part\.npz: not the weights of Noise2NoiseFlow.*model\.17"):
        import_model(ForeignSource(tmp_path / "part.npz"))
