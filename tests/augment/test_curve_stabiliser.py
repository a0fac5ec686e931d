"""Noise whose variance is no line comes to variance 1, and its inverse has no bias."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import noiseflow
from noiseflow.augment import (
    CurveStabiliser,
    VarianceStabiliser,
    export_stabiliser,
    stabiliser_of,
    stabiliser_of_points,
)
from noiseflow.core.errors import DataError
from noiseflow.flows.conditions import Conditions
from noiseflow.models import ModelSpec, build
from noiseflow.raw.formats.emva import read_emva, read_frame

POINTS = np.linspace(0, 1, 41) ** 2


def bent(signal: np.ndarray) -> np.ndarray:
    """A curve that falls off towards saturation, as transfer capacitors make it."""
    return 1e-5 + 2e-3 * signal * (1 - 0.55 * signal)


def test_points_of_a_bent_curve() -> None:
    stabiliser = stabiliser_of_points(POINTS, bent(POINTS))
    line = VarianceStabiliser(torch.tensor([2e-3]), torch.tensor([1e-5]))
    rng = np.random.default_rng(0)
    worst = 0.0
    for signal in (0.02, 0.1, 0.3, 0.6, 0.8):
        noise = rng.normal(0, np.sqrt(bent(np.array(signal))), (500, 500))
        noisy = torch.from_numpy(signal + noise).float()[None]
        stable = stabiliser(noisy)
        # 250,000 pixels: a standard error of 0.3 %.
        assert float(stable.var()) == pytest.approx(1, abs=0.02)
        assert float(stabiliser.inverse(stable.mean().reshape(1, 1, 1))) == pytest.approx(signal, rel=0.003)
        worst = max(worst, abs(float(line(noisy).var()) - 1))
    assert worst > 0.3


def test_a_line_gives_the_generalised_anscombe_transform() -> None:
    line = VarianceStabiliser(torch.tensor([1e-3]), torch.tensor([4e-6]))
    curve = stabiliser_of_points(POINTS, 1e-3 * POINTS + 4e-6)
    signal = torch.linspace(0.01, 0.95, 200)[None, None]
    difference = curve(signal) - line(signal)
    # Equal but for a constant, and for what makes normal noise of few electrons one of variance 1.
    assert float((difference - difference.mean())[..., 20:].abs().max()) < 0.1
    back = curve.inverse(curve(signal))
    few = line.inverse(line(signal))
    assert float((back - few)[..., 20:].abs().max()) < 5e-4


class Bent(torch.nn.Module):
    """Normal noise of `bent` variance under the contract of a model."""

    def __new__(cls) -> "noiseflow.models.NoiseModel":  # type: ignore[misc]
        model = build(ModelSpec("nlf", cameras=("One",), isos=(100.0,)))
        base = type(model)

        class Curved(base):  # type: ignore[misc, valid-type]
            linear_variance = None

            def variance(self, cond: Conditions) -> Tensor:
                return 1e-5 + 2e-3 * cond.clean * (1 - 0.55 * cond.clean)

            def sample(self, cond: Conditions, generator: object = None) -> Tensor:
                # Evenly spread over a plane, as the numbers are that moments of a model are taken with.
                count = cond.clean[0, 0].numel()
                even = torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count)
                drawn = even.float().reshape(cond.clean.shape[2:]).expand_as(cond.clean)
                return drawn * self.variance(cond).sqrt()

        model.__class__ = Curved
        return model


def test_a_models_own_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from noiseflow.augment.stabilise import variance_stabiliser

    monkeypatch.setattr(variance_stabiliser, "linear_variance", lambda model: None)
    stabiliser = stabiliser_of(Bent(), 100.0)
    assert isinstance(stabiliser, CurveStabiliser)
    assert stabiliser.planes == 4
    generator = torch.Generator().manual_seed(1)
    for signal in (0.05, 0.4, 0.75):
        clean = torch.full((4, 250, 250), signal)
        noisy = (
            clean + torch.randn(clean.shape, generator=generator) * (1e-5 + 2e-3 * signal * (1 - 0.55 * signal)) ** 0.5
        )
        stable = stabiliser(noisy)
        assert float(stable.var()) == pytest.approx(1, abs=0.02)
        mean = stable.mean((1, 2), keepdim=True)
        assert torch.allclose(stabiliser.inverse(mean), torch.tensor(signal), rtol=0.01)


def test_a_model_of_a_line_keeps_it() -> None:
    assert isinstance(stabiliser_of(noiseflow.load("sony-a7s2"), 1600), VarianceStabiliser)


def test_its_graph_gives_the_same_numbers(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the extra [export] is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the extra [export] is not installed")
    stabiliser = stabiliser_of_points(POINTS, np.stack([bent(POINTS), 2 * bent(POINTS)]))
    for inverse in (False, True):
        path = export_stabiliser(stabiliser, tmp_path / f"vst{inverse}.onnx", inverse=inverse)
        signal = torch.rand(1, 2, 20, 30) * (60 if inverse else 1)
        expected = stabiliser.inverse(signal) if inverse else stabiliser(signal)
        (found,) = runtime.InferenceSession(str(path)).run(None, {"signal": signal.numpy()})
        assert np.allclose(found, expected.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("signal", "variance", "message"),
    [([0.1], [1.0], "two or more rising"), ([0.1, 0.1], [1, 1], "rising"), ([0.1, 0.2], [1, 0], "positive")],
)
def test_what_is_no_curve_says_so(signal: list[float], variance: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        stabiliser_of_points(np.array(signal), np.array(variance))


def test_the_lit_flats_of_emva_002(shared_data: Path) -> None:
    """The curve from every second level, 1.00 on those between; a straight line is up to 40 % off."""
    folder = read_emva(shared_data / "emva1288" / "EMVA1288_ReferenceSet_002_CMOS_08Bit_left640")
    lit = []
    for series in [each for each in folder.series if each.kind == "b" and len(each.files) == 2][::4]:
        first, second = (torch.from_numpy(read_frame(folder, series, file).normalised()) for file in series.files)
        lit.append((float(first.mean()), float((first - second).var() / 2), first, second))
    lit.sort(key=lambda level: level[0])
    # Up to nine tenths of where the variance is largest, and no dark frames, whose noise is below one code.
    top = 0.9 * max(lit, key=lambda level: level[1])[0]
    lit = [level for level in lit if 0.01 < level[0] < top]
    stabiliser = stabiliser_of_points(*np.array([level[:2] for level in lit[::2]]).T)
    found = [float((stabiliser(a.float()) - stabiliser(b.float())).var() / 2) for *_, a, b in lit[1:-1:2]]
    assert len(found) > 4
    # Pairs of 330,000 pixels: 0.25 %; the lamp adds what it likes.
    assert np.abs(np.array(found) - 1).max() < 0.03
    assert abs(np.median(found) - 1) < 0.015
    slope, offset = np.polyfit(*np.array([level[:2] for level in lit]).T, 1)
    line = VarianceStabiliser(torch.tensor([slope]), torch.tensor([max(offset, 1e-7)]))
    assert max(abs(float((line(a.float()) - line(b.float())).var() / 2) - 1) for *_, a, b in lit) > 0.1
