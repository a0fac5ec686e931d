"""Parity with the authors' own code, by the golden file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from noiseflow.core.errors import ModelError
from noiseflow.flows.conditions import Conditions
from noiseflow.models import import_published, load, save
from noiseflow.models.flow.noise_flow import NoiseFlow
from noiseflow.models.foreign.noise_flow import NOISE_FLOW
from noiseflow.models.io.published_weights import fill_triangular

CASES = range(13)


@pytest.fixture(scope="module")
def published(shared_data: Path) -> NoiseFlow:
    return import_published(shared_data / "published" / "noise_flow_weights.npz")


@pytest.fixture(scope="module")
def golden(shared_data: Path) -> dict[str, np.ndarray]:
    with np.load(shared_data / "published" / "noise_flow_golden.npz") as arrays:
        return dict(arrays)


def nchw(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values).movedim(-1, -3).contiguous()


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_latent_log_det_and_nll_are_the_authors(published: NoiseFlow, golden: dict[str, np.ndarray], case: int) -> None:
    camera, iso = int(golden["cam"][case]), float(golden["iso"][case])
    noise, cond = nchw(golden["x"][case]), Conditions(nchw(golden["y"][case]), iso, camera)
    z, log_det = published.flow(noise, cond.resolve(published.cameras))
    assert relative(z, nchw(golden["z"][case])) < 1e-4
    assert relative(log_det, torch.from_numpy(golden["logdet"][case])) < 1e-4
    assert relative(-published.log_prob(noise, cond), torch.from_numpy(golden["nll"][case])) < 1e-4


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_samples_are_the_authors(published: NoiseFlow, golden: dict[str, np.ndarray], case: int) -> None:
    cond = Conditions(nchw(golden["y"][case]), float(golden["iso"][case]), int(golden["cam"][case]))
    x = published.flow.inverse(nchw(golden["zin"][case]), cond.resolve(published.cameras))
    assert relative(x, nchw(golden["xout"][case])) < 1e-5


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_there_and_back_in_float32(published: NoiseFlow, golden: dict[str, np.ndarray], case: int) -> None:
    cond = Conditions(nchw(golden["y"][case]), float(golden["iso"][case]), int(golden["cam"][case]))
    cond = cond.resolve(published.cameras)
    noise = nchw(golden["x"][case])
    assert relative(published.flow.inverse(published.flow(noise, cond)[0], cond), noise) < 1e-5


@torch.no_grad()
def test_all_cases_in_one_batch_are_the_single_runs(published: NoiseFlow, golden: dict[str, np.ndarray]) -> None:
    noise, clean = (nchw(golden[name].reshape(-1, 32, 32, 4)) for name in "xy")
    iso, camera = (torch.from_numpy(golden[name]).repeat_interleave(2) for name in ("iso", "cam"))
    together = -published.log_prob(noise, Conditions(clean, iso.float(), camera))
    assert relative(together, torch.from_numpy(golden["nll"].ravel())) < 1e-4


def test_it_has_the_published_parameters_but_the_two_unused(published: NoiseFlow) -> None:
    assert sum(parameter.numel() for parameter in published.parameters()) == 2433 - 2


@torch.no_grad()
def test_a_run_folder_keeps_it(published: NoiseFlow, golden: dict[str, np.ndarray], tmp_path: Path) -> None:
    save(published, tmp_path / "run")
    again = load(tmp_path / "run")
    cond = Conditions(nchw(golden["y"][0]), float(golden["iso"][0]), "IP")
    assert torch.equal(again.log_prob(nchw(golden["x"][0]), cond), published.log_prob(nchw(golden["x"][0]), cond))


def test_triangles_are_filled_in_tensorflow_probability_s_order() -> None:
    # The example in the documentation of tfp.math.fill_triangular.
    packed = torch.tensor([1, 2, 3, 4, 5, 6])
    assert fill_triangular(packed, upper=False).tolist() == [[4, 0, 0], [6, 5, 0], [3, 2, 1]]
    assert fill_triangular(packed, upper=True).tolist() == [[1, 2, 3], [0, 5, 6], [0, 0, 4]]


def test_what_is_not_the_published_weights(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    (tmp_path / "bad.npz").write_bytes(b"PK not a zip")
    np.savez(tmp_path / "pickled.npz", a=np.array([{}], dtype=object))
    (tmp_path / "model.ckpt.index").write_bytes(b"")
    for name, message in (
        ("other.npz", "not the published"),
        ("bad.npz", "cannot read"),
        ("pickled.npz", "cannot read"),
        ("gone.npz", "no such file"),
        ("gone.ckpt", "expected an .npz"),
    ):
        with pytest.raises(ModelError, match=message):
            import_published(tmp_path / name)


def test_the_checkpoint_itself(shared_data: Path, published: NoiseFlow) -> None:
    pytest.importorskip("tensorflow", reason="the extra [tensorflow] is not installed")
    read = import_published(shared_data / "published" / "tf_checkpoint" / "model.ckpt.best")
    for name, value in published.state_dict().items():
        assert torch.equal(read.state_dict()[name], value), name


def test_a_checkpoint_is_known_by_its_index_and_an_archive_by_its_variable(tmp_path: Path, shared_data: Path) -> None:
    for name in ("model.ckpt.index", "other.ckpt", "other.ckpt.index"):
        (tmp_path / name).write_bytes(b"")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    assert NOISE_FLOW.claims(tmp_path / "model.ckpt.index")
    assert NOISE_FLOW.claims(tmp_path / "model.ckpt")
    assert NOISE_FLOW.claims(tmp_path / "other.ckpt")
    assert NOISE_FLOW.claims(shared_data / "published" / "noise_flow_weights.npz")
    assert not NOISE_FLOW.claims(tmp_path / "other.npz")
