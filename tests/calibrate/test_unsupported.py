"""Figures against the formulas of EMVA 1288, and those that the data cannot support: absent, with the reason."""

import re

import numpy as np
import pytest

from noiseflow.calibrate import calibrate, read_profile
from noiseflow.calibrate.estimators.likelihood import likelihood_gain
from noiseflow.calibrate.kinds.flats import UNEVEN, _unevenness
from noiseflow.calibrate.measurements.banding import MOST_LINES, banding_spectrum
from noiseflow.calibrate.measurements.curve import Curve
from noiseflow.calibrate.measurements.dark_current import dark_series
from noiseflow.calibrate.measurements.linearity import linearity
from noiseflow.calibrate.measurements.photon_transfer import emva_gain
from noiseflow.calibrate.report import write_page
from noiseflow.calibrate.stack import components, stack_frames

FORMULAS = {
    "EMVA1288_ReferenceSet_001_CCD_12Bit": {
        "gain_dn_per_e": 0.2800626,
        "read_noise_dn": 3.0731043,
        "dsnu_dn": 0.1549273,
        "prnu_percent": 0.4327052,
        "saturation_dn": 3890.90338,
        "saturation_e": 14007.885,
        "linearity": (-0.6157976, 0.4804483),
    },
    "EMVA1288_ReferenceSet_002_CMOS_08Bit_left640": {
        "gain_dn_per_e": 0.0211516,
        "read_noise_dn": 0.3240705,
        "dsnu_dn": 0.1353825,
        "prnu_percent": 0.8860281,
        "saturation_dn": 209.46805,
        "saturation_e": 9945.817,
        "linearity": (-0.9599212, 0.8907994),
    },
}
"""What the formulas of the `emva1288` package come to on these frames, in NumPy; without its floor of 0.49 DN for σ."""


@pytest.mark.parametrize("name", FORMULAS)
def test_figures_are_those_of_the_emva_formulas(shared_data, tmp_path, name):
    calibration = calibrate([shared_data / "emva1288" / name], tmp_path / "c.json")
    (setting,) = calibration.profile.settings
    expected = dict(FORMULAS[name])
    low, high = expected.pop("linearity")
    assert setting.facts["linearity_error_range_percent"] == pytest.approx([low, high], rel=1e-3)
    assert setting.facts["linearity_error_percent"] == pytest.approx(max(-low, high), rel=1e-3)
    for figure, value in expected.items():
        # 0.1 %, or a tenth of a standard error where two unbiased estimators of one variance differ.
        error = setting.estimates[figure].standard_error
        assert setting.estimates[figure].value == pytest.approx(value, rel=1e-3, abs=0.1 * error), figure
    if "002" in name:
        # Its listing gives exposures from 0 s on.
        assert "dark_current_e_per_s" not in setting.estimates
        assert "the dark level falls with the exposure time" in setting.absent["dark_current_e_per_s"]
    assert read_profile(tmp_path / "c.json") == calibration.profile
    assert len(setting.facts["row_lines_cycles_per_pixel"]) <= MOST_LINES
    write_page(calibration, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert all(reason in page for reason in setting.absent.values())
    # A figure in DN and in e⁻ has one meaning, and is absent in one row.
    absent = re.findall(r"<tr>.*?</tr>", page.partition("<th>not measured</th>")[2].partition("</table>")[0])
    assert len(set(absent)) == len(absent)
    assert bool(absent) == bool(setting.absent)
    assert "<img alt='SNR'" in page
    least, reach = (setting.estimates[name].value for name in ("sensitivity_threshold_e", "dynamic_range_db"))
    noise_e = setting.estimates["read_noise_dn"].value / setting.estimates["gain_dn_per_e"].value
    assert least == pytest.approx(np.hypot(noise_e, 0.5) + 0.5)
    assert reach == pytest.approx(20 * np.log10(setting.estimates["saturation_e"].value / least))
    if "001" in name:
        # A response within 0.6 % of a line, and K at no signal 2.4 % above its mean.
        assert setting.facts["general_dynamic_range_db"] == pytest.approx(reach, abs=0.5)


def curve(exposure, signal, gain=0.1, read=4.0, pixels=100_000, rng=None):
    variance = gain * np.asarray(signal) + read
    error = variance * np.sqrt(2 / pixels)
    if rng is not None:
        variance = variance + error * rng.standard_normal(len(variance))
    n = len(variance)
    rest = np.full(n, read), np.full(n, read * np.sqrt(2 / pixels))
    return Curve(
        np.asarray(exposure, float), np.asarray(signal, float), variance, error, *rest, np.zeros(n), True, np.zeros(n)
    )


def reason_of(found, saturation, **known):
    fit = emva_gain(found)
    chosen = np.ones(len(found.signal), bool)
    line = linearity(found, chosen, saturation, fit, **known)
    assert line.error_percent is None
    return line.reason


def test_a_linearity_error_is_absent_where_the_light_is_not_known():
    signal = np.linspace(100, 3000, 12)
    good = curve(signal, signal)
    assert "does not reach saturation" in reason_of(good, None)
    assert "several levels" in reason_of(good, 11, light_known=False)
    assert "1 exposure " in reason_of(curve(signal[::4], signal[::4]), 2)
    # A level with the exposure of another: as the bright stack of EMVA's set 002.
    wrong = signal.copy()
    wrong[8] = 150.0
    assert "wrong exposures" in reason_of(curve(wrong, signal), 11)
    line = linearity(good, np.ones(12, bool), 11, emva_gain(good))
    assert line.error_percent == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("seconds", "level", "words"),
    [
        ([-1.0, 1.0, 2.0, 3.0], [10, 11, 12, 13], "an exposure time of -1 s"),
        ([1.0, 2.0, 3.0, 4.0], [13, 12, 11, 10], "falls with the exposure"),
        ([1.0, 1.0, 2.0], [10, 10, 11], "needs three"),
    ],
)
def test_a_dark_current_is_absent_with_its_reason(seconds, level, words):
    n = len(seconds)
    error = np.full(n, 0.01)
    series = dark_series(np.array(seconds), np.array(level, float), error, np.full(n, 9.0), error)
    assert series.current is None
    assert words in series.no_current


def bent_trial(seed, levels, bend, gain=0.1, read=2.0, top=3000.0, pixels=100_000):
    """Whether the interval of the slope at no signal holds K on a response y·(1 − bend·(y/top)³)."""
    rng = np.random.default_rng(seed)
    y = np.linspace(top / levels, 0.7 * top, levels)
    signal, slope = y * (1 - bend * (y / top) ** 3), 1 - 4 * bend * (y / top) ** 3
    variance = gain * y * slope**2 + read**2
    error, dark_error = variance * np.sqrt(2 / pixels), read**2 * np.sqrt(2 / pixels)
    dark = np.full(levels, read**2 + dark_error * rng.standard_normal())
    seen = variance + error * rng.standard_normal(levels)
    fit = likelihood_gain(Curve(y, signal, seen, error, dark, np.full(levels, dark_error), np.zeros(levels), True))
    return (fit.gain_at_zero or fit.gain).covers(gain)


@pytest.mark.parametrize("bend", [0.02, 0.05])
def test_the_gain_at_no_signal_is_covered_where_the_response_bends(bend):
    # A parabola holds it in 0 to 60 % of these.  Beyond 92–98 % by chance in 3.5 % a side; the seeds are fixed.
    held = np.mean([bent_trial(seed, 24, bend) for seed in range(200)])
    assert 0.92 <= held <= 0.98, held


def test_many_peaks_are_one_cause_and_five_lines_are_listed():
    rng = np.random.default_rng(0)
    profiles = rng.standard_normal((40, 512))
    assert banding_spectrum(profiles, 1.0, 1).lines == ()
    line = profiles + 0.5 * np.sin(2 * np.pi * (np.arange(512) * 0.125 + rng.uniform(size=(40, 1))))
    assert banding_spectrum(line, 1.0, 1).lines == (0.125,)
    comb = sum(np.sin(2 * np.pi * (np.arange(512) * k / 64 + rng.uniform(size=(40, 1)))) for k in range(1, 12))
    spectrum = banding_spectrum(profiles + comb, 1.0, 1)
    assert len(spectrum.lines) == MOST_LINES
    assert spectrum.peaks >= 11


def test_a_warning_of_uneven_light_has_a_power_and_a_false_alarm_rate():
    rng, size = np.random.default_rng(0), (40, 48)
    ramp = 12 * (1 + 0.45 * np.sqrt(3) * np.linspace(-1, 1, size[1]))

    def spread(light):
        frames = [np.rint(100 + light + 20 * rng.standard_normal(size)).astype(np.uint16) for _ in range(2)]
        stack = stack_frames(frames)
        return _unevenness(stack, components(stack)) / 12

    # 12 DN of light under 20 DN of noise: even flats are never accused (4 σ), those that vary by 45 % nearly always.
    assert sum(spread(12.0) > UNEVEN for _ in range(500)) == 0
    assert sum(spread(4 * ramp) > UNEVEN for _ in range(100)) >= 99
