"""Fits to pairs of noisy frames, against the truth that no fit is told."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from noiseflow.core.errors import DataError, ModelError
from noiseflow.fit import FitSettings, PairSettings, fit, fit_pairs, spec_for
from noiseflow.fit.noisy_pairs.noise_target import Denoised, difference, residual, unexplained
from noiseflow.fit.noisy_pairs.pair_dataset import NoisyPairs, pair_statistics, smoothest
from noiseflow.flows.conditions import Conditions
from noiseflow.models import ModelSpec, build, load, load_denoiser
from noiseflow.models.noise_statistics import is_closed_form, local_mean
from noiseflow.patches import PatchStore
from noiseflow.patches.assembly.writer import StoreWriter
from noiseflow.patches.schema import fields

BLACK, WHITE, GAIN, READ = 256.0, 4095.0, 2.0, 4.0
SPAN = WHITE - BLACK
SMALL = FitSettings(epochs=2, batch=16, steps_per_epoch=8, patience=10)


def scenes(count: int, rng: np.random.Generator) -> np.ndarray:
    """Signal above black in DN, (count, 4, 16, 16): an edge through a ramp, of all brightnesses."""
    y, x = np.mgrid[:16, :16] / 16
    angle, place = rng.uniform(0, 2 * np.pi, count), rng.uniform(-0.3, 0.3, count)
    low, high = np.exp(rng.uniform(np.log(10), np.log(1500), (2, count)))
    along = np.cos(angle)[:, None, None] * (x - 0.5) + np.sin(angle)[:, None, None] * (y - 0.5) - place[:, None, None]
    signal = np.where(along > 0, high[:, None, None], low[:, None, None]) * (1 + 0.3 * along)
    return signal[:, None] * np.array([0.5, 1.0, 1.0, 0.7])[:, None, None]


def made(folder: Path, count: int = 320, drift: float = 0.0) -> tuple[PatchStore, PatchStore]:
    """Pairs, and the same first frames with their clean twins."""
    rng = np.random.default_rng(0)
    clean = scenes(count, rng)
    noisy = [np.rint(BLACK + clean + rng.normal(size=clean.shape) * np.sqrt(GAIN * clean + READ**2)) for _ in range(2)]
    noisy[1] += np.rint(drift)
    stores = []
    for pairing, second in (("noisy-pair", noisy[1]), ("gt", BLACK + clean)):
        path = folder / f"{pairing}.h5"
        with StoreWriter(path, layout="bayer", patch_size=16, pairing=pairing, provenance={}) as writer:
            table = np.zeros(count, fields(4))
            table["camera"] = writer.label("cameras", "Made")
            table["iso"], table["black"], table["white"] = 800, BLACK, WHITE
            table["source"] = writer.source("made", "0")
            table["scene"] = [writer.label("scenes", f"scene {number % 10}") for number in range(count)]
            table["split"] = np.array((0, 0, 0, 0, 0, 0, 0, 0, 1, 2))[np.arange(count) % 10]
            table["clean_variance"] = 1.0 if pairing == "noisy-pair" else 0.0
            writer.append(noisy[0], second, table)
        stores.append(PatchStore(path))
    return stores[0], stores[1]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[PatchStore, PatchStore]:
    return made(tmp_path_factory.mktemp("pairs"))


def held_out_nll(model: torch.nn.Module, twins: PatchStore) -> float:
    batch = twins.read(twins.indices("val"))
    cond = Conditions(batch.clean, batch.iso, batch.camera)
    with torch.no_grad():
        return -float(model.log_prob(batch.noise, cond).mean()) / batch.noise[0].numel()


def test_gain_and_read_noise_without_a_clean_image(stores: tuple[PatchStore, PatchStore], tmp_path: Path) -> None:
    pairs, twins = stores
    found = fit_pairs(pairs, spec_for(pairs, "nlf"), tmp_path / "pairs", SMALL).model
    known = fit(twins, spec_for(twins, "nlf"), tmp_path / "twins").model
    assert float(found.log_beta1.detach().exp()) * SPAN == pytest.approx(GAIN, rel=0.02)
    assert float(found.log_beta2.detach().exp()) ** 0.5 * SPAN == pytest.approx(math.hypot(READ, 12**-0.5), rel=0.05)
    # 2^16 values of held-out noise: what two fits of 2^18 values differ by is far below 1e-3.
    assert held_out_nll(found, twins) == pytest.approx(held_out_nll(known, twins), abs=1e-3)


def test_a_flow_and_a_denoiser_from_pairs(stores: tuple[PatchStore, PatchStore], tmp_path: Path) -> None:
    pairs, twins = stores
    settings = FitSettings(epochs=4, batch=16, steps_per_epoch=16, patience=10, learning_rate=4e-3)
    result = fit_pairs(pairs, spec_for(pairs, "realnvp", {"couplings": 2}), tmp_path / "run", settings)
    known = fit(twins, spec_for(twins, "nlf"), tmp_path / "twins").model
    model, denoiser = load(tmp_path / "run"), load_denoiser(tmp_path / "run")
    # The noise is Gaussian: `nlf` is the truth but for the rounding.
    assert held_out_nll(model, twins) < held_out_nll(known, twins) + 0.01
    batch = twins.read(twins.indices("val"))
    with torch.no_grad():
        clean = denoiser(batch.clean + batch.noise, batch.iso, "Made")
    # The same v: at an edge that of the pixel's surroundings.
    scale = denoiser.level.variance(Conditions(local_mean(batch.clean), batch.iso, batch.camera))
    error = float(((clean - batch.clean).square() / scale).mean())
    assert error < 0.45
    # What it says of itself without a clean image: 2^15 values of n₁n₂/v, standard error 0.006.
    assert result.error == pytest.approx(error, abs=0.03)
    record = json.loads((tmp_path / "run" / "fit.json").read_text())
    assert record["denoiser_gain_db"] == pytest.approx(-10 * math.log10(result.error))
    assert record["pairs"]["noise"] == "difference"


def test_a_drift_between_the_frames_is_no_noise(tmp_path: Path) -> None:
    squares = []
    for name, drift in (("still", 0.0), ("drifting", 20.0)):
        (tmp_path / name).mkdir()
        store, _ = made(tmp_path / name, count=100, drift=drift)
        rows = store.indices("train")
        pairs = NoisyPairs(store, rows)
        statistics = pair_statistics(pairs, rows)
        squares.append(float((statistics.count * statistics.square).sum() / statistics.count.sum()))
        first, second, _, _ = pairs.read(rows)
        assert float((first - second).mean()) == pytest.approx(0, abs=1e-6)
    assert squares[1] == pytest.approx(squares[0], rel=1e-9)


def test_the_start_looks_where_the_scene_is_smooth(stores: tuple[PatchStore, PatchStore], tmp_path: Path) -> None:
    """Of edges hundreds of σ high the noise over a wrong σ would look heavy-tailed."""
    pairs, twins = stores
    level = build(spec_for(twins, "nlf"))
    rows = pairs.indices("train")
    read = NoisyPairs(pairs, rows)
    level.start_from(pair_statistics(read, rows))
    kurtosis = []
    for part in (0.25, 1.0):
        first, second, iso, camera = smoothest(read, rows, level, part)
        assert len(first) == round(part * len(rows))
        with torch.no_grad():
            sigma = level.variance(Conditions(local_mean(0.5 * (first + second)), iso, camera)).sqrt()
        scaled = (first - second) / sigma
        kurtosis.append(float(scaled.pow(4).mean() / scaled.square().mean().square()))
    # 65,536 values: standard error 0.02.
    assert kurtosis[0] == pytest.approx(3, abs=0.1)
    assert kurtosis[1] > 3.1


def test_the_denoiser_s_error_is_known_without_a_clean_signal() -> None:
    """ε of 400 patches of 1,024 values has a standard error of 0.0016 or less; five of them."""
    generator = torch.Generator().manual_seed(0)
    clean, sigma, part = 0.3, 0.02, 0.2
    n1, n2, e1, e2 = (torch.randn(400, 4, 16, 16, generator=generator) * sigma for _ in range(4))
    # As a denoiser does, let some of each frame's own noise through.
    of_first, of_second = (clean + math.sqrt(part / 2) * (n + e) for n, e in ((n1, e1), (n2, e2)))
    pair = Denoised(clean + n1, clean + n2, of_first, of_second, torch.full_like(n1, sigma**2))
    assert float(unexplained(pair).mean()) == pytest.approx(part, abs=0.008)
    for noise, _ in (difference(pair), residual(pair)):
        assert float(noise.var()) == pytest.approx(sigma**2, rel=0.02)
    # Undivided, as published, it is the noise's variance and the denoiser's error.
    assert float((pair.first - pair.of_second).var()) == pytest.approx(sigma**2 * (1 + part), rel=0.02)


class Killed(BaseException):
    pass


def test_a_resumed_fit_is_the_fit_that_was_never_stopped(stores: tuple[PatchStore, PatchStore], tmp_path: Path) -> None:
    def kill(done: int, total: int, note: str = "") -> None:
        if note != "statistics" and done == 12:
            raise Killed

    spec = spec_for(stores[0], "noise_flow")
    published = PairSettings(noise="residual", width=8)
    whole = fit_pairs(stores[0], spec, tmp_path / "whole", SMALL, published)
    with pytest.raises(Killed):
        fit_pairs(stores[0], spec, tmp_path / "run", SMALL, published, progress=kill)
    with pytest.raises(ModelError, match="had other pairs"):
        fit_pairs(stores[0], spec, tmp_path / "run", SMALL, resume=True)
    resumed = fit_pairs(stores[0], spec, tmp_path / "run", SMALL, published, resume=True)
    for one, other in ((whole.model, resumed.model), (whole.denoiser, resumed.denoiser)):
        expected, got = one.state_dict(), other.state_dict()
        assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert whole.error == resumed.error


def test_what_is_no_pair_is_refused(stores: tuple[PatchStore, PatchStore], tmp_path: Path) -> None:
    pairs, twins = stores
    with pytest.raises(DataError, match="paired by gt; expected noisy-pair"):
        fit_pairs(twins, spec_for(twins, "nlf"), tmp_path / "run")
    with pytest.raises(DataError, match="not integer codes"):
        fit_pairs(pairs, spec_for(pairs, "nlf"), tmp_path / "run", FitSettings(objective="discretised"))
    with pytest.raises(DataError, match="on which only `noiseflow fit` can work"):
        pairs.read(pairs.indices("train"))
    with pytest.raises(DataError, match="expected difference, residual"):
        PairSettings(noise="other")
    with pytest.raises(DataError, match="weight of the denoiser's error"):
        PairSettings(weight=0.0)
    with pytest.raises(ModelError, match="contains no denoiser"):
        load_denoiser(tmp_path)
    assert is_closed_form(build(ModelSpec("nlf")))
