"""What the figures of a calibration draw, by the numbers of its lines."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from noiseflow.calibrate.measured import Evidence
from noiseflow.calibrate.measurement import from_error
from noiseflow.calibrate.measurements.curve import Curve
from noiseflow.calibrate.measurements.photon_transfer import PhotonTransfer
from noiseflow.calibrate.profiles.profile import Setting
from noiseflow.calibrate.report import figures

GAIN, READ, DSNU, PRNU = 2.0, 6.0, 4.0, 1.5
SIGNAL = np.array([10.0, 100.0, 1000.0, 4000.0])


@pytest.fixture
def panels(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The axes of what is drawn."""
    drawn: list[Any] = []

    def kept(*axes: Any) -> str:
        drawn.extend(axes)
        return ""

    monkeypatch.setattr(figures, "_images", kept)
    return drawn


def curve() -> Curve:
    error = np.full(4, 1.0)
    dark = np.full(4, READ**2)
    return Curve(
        SIGNAL / 1e4, SIGNAL, GAIN * SIGNAL + READ**2, error, dark, 0 * error, np.array([0, 0, 0, 0.01]), False
    )


def lines(axes: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {line.get_label(): (np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in axes.lines}


def test_signal_to_noise(panels: list[Any]) -> None:
    """μ/√(μ + σ_d² + DSNU² + PRNU²μ²), all in electrons; a level that clips has none."""
    estimates = {
        "gain_dn_per_e": from_error(GAIN, 0.1, "DN/e-"),
        "read_noise_dn": from_error(READ, 0.1, "DN"),
        "dsnu_dn": from_error(DSNU, 0.1, "DN"),
        "prnu_percent": from_error(PRNU, 0.1, "%"),
        "sensitivity_threshold_e": from_error(3.0, 0.1, "e-"),
        "saturation_e": from_error(9000.0, 1.0, "e-"),
    }
    figures._signal_to_noise(Setting(100.0, "Y", estimates), Evidence(curve=curve()))
    drawn = lines(panels[0])
    x, total = drawn["total, with DSNU and PRNU"]
    assert (x[0], x[-1]) == pytest.approx((1.5, 9000))
    dark = (READ / GAIN) ** 2
    assert total == pytest.approx(x / np.sqrt(x + dark + (DSNU / GAIN) ** 2 + (PRNU / 100 * x) ** 2))
    assert drawn["linear model"][1] == pytest.approx(x / np.sqrt(x + dark))
    assert drawn["shot noise alone"][1] == pytest.approx(np.sqrt(x))
    electrons, seen = drawn["levels, temporal noise"]
    assert electrons == pytest.approx(SIGNAL[:3] / GAIN)
    assert seen == pytest.approx(electrons / np.sqrt(electrons + dark))


def test_photon_transfer(panels: list[Any]) -> None:
    fit = PhotonTransfer(from_error(GAIN, 0.1, "DN/e-"), READ**2, np.eye(2), np.zeros(3), 1.0)
    figures._photon_transfer(Evidence(curve=curve(), chosen=np.array([True] * 3 + [False]), fit=fit))
    drawn, rest = lines(panels[0]), panels[1]
    assert drawn["used (0–70 % of saturation)"][1] == pytest.approx(GAIN * SIGNAL[:3])
    assert drawn["not used"][0].tolist() == [4000.0]
    (line,) = [values for name, values in drawn.items() if "K" in name or "DN/e-" in name]
    assert line[0].tolist() == [0.0, 4000.0]
    assert line[1] == pytest.approx(GAIN * line[0])
    (bars,) = rest.containers
    assert np.asarray(bars[0].get_ydata()) == pytest.approx(np.zeros(3), abs=1e-9)
    # Two standard errors of a level either way.
    assert [float(np.ptp(each[:, 1])) for each in bars[2][0].get_segments()] == pytest.approx([4.0] * 3)


def test_the_bent_curve_is_the_polynomial_of_the_likelihood() -> None:
    """Of b₁x + b₂x² + …, above the variance in the dark, up to the last level used."""
    fit = PhotonTransfer(from_error(GAIN, 0.1, "DN/e-"), READ**2, np.eye(2), np.zeros(3), 1.0)
    shown = Evidence(curve=curve(), chosen=np.array([True] * 3 + [False]), likelihood=replace(fit, bend=(2.0, 3e-4)))
    found = figures._bend(shown, 5.0)
    assert found is not None
    x, y = found
    assert (x[0], x[-1], len(x)) == (0.0, 1000.0, 100)
    assert y == pytest.approx(2.0 * x + 3e-4 * x**2 + 5.0)
    assert figures._bend(replace(shown, likelihood=fit), 5.0) is None


@pytest.mark.parametrize("size", [150, 300, 1000])
def test_every_value_of_a_small_sample_stands_in_the_plot_of_quantiles(panels: list[Any], size: int) -> None:
    """Beside its quantile of the normal distribution of its own deviation, by Benard's places."""
    noise = np.random.default_rng(0).permutation(np.linspace(-8, 9, size)).astype(np.float32)
    figures._read_noise(Setting(100.0, "Y", {}), Evidence(noise=noise))
    x, y = lines(panels[1])["Gaussian quantiles"]
    assert np.array_equal(np.unique(y), np.sort(noise))
    place = (np.arange(1, size + 1) - 0.3175) / (size + 0.365)
    expected = float(noise.std()) * stats.norm.ppf(place)
    assert x == pytest.approx(expected[np.searchsorted(np.sort(noise), y)], rel=1e-4, abs=1e-4)
