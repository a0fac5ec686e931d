"""The whole way from a source to a profile, on real data."""

import html
import re
from pathlib import Path

import numpy as np
import pytest

from noiseflow.calibrate import calibrate, fit_gain_law, read_profile
from noiseflow.calibrate.kinds.tables import read_tables
from noiseflow.calibrate.profiles.facts import FACTS
from noiseflow.calibrate.report import write_page
from noiseflow.calibrate.report.figures import COLOURS
from noiseflow.core.errors import DataError


@pytest.fixture(scope="module")
def reference(shared_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("emva") / "camera.json"
    folder = shared_data / "emva1288" / "EMVA1288_ReferenceSet_001_CCD_12Bit"
    return calibrate([folder], out), out


@pytest.mark.parametrize(
    ("name", "published", "tolerance"),
    [
        ("gain_dn_per_e", 0.28077, 0.005),
        ("gain_likelihood_dn_per_e", 0.28077, 0.005),
        ("read_noise_dn", 3.0734, 0.005),
        ("saturation_e", 13973.0, 0.01),
        ("row_noise_dn", 0.504, 0.03),
        ("prnu_dn", 8.5, 0.03),
    ],
)
def test_emva_reference_set(reference, name, published, tolerance):
    estimate = reference[0].profile.settings[0].estimates[name]
    assert estimate.value == pytest.approx(published, rel=tolerance)
    assert estimate.covers(published)


def test_error_bars_of_the_reference_set_are_no_excuse(reference):
    # An interval that covers everything would pass the test above.
    estimates = reference[0].profile.settings[0].estimates
    assert estimates["gain_dn_per_e"].standard_error < 0.004 * 0.28
    assert estimates["gain_likelihood_dn_per_e"].standard_error < 0.004 * 0.28
    assert estimates["read_noise_dn"].standard_error < 0.002 * 3.07
    assert estimates["row_noise_dn"].standard_error < 0.01 * 0.504


def test_the_bend_of_the_reference_sensor_is_said(reference):
    setting = reference[0].profile.settings[0]
    # Variance over signal falls from 0.289 at a tenth of the range to 0.279 at its end, by the eye on the table.
    assert setting.estimates["gain_at_zero_dn_per_e"].covers(0.2900)
    assert any("no straight line fits" in caution for caution in setting.cautions)


def test_profile_round_trip(reference):
    calibration, out = reference
    assert read_profile(out) == calibration.profile


def independent_slope(rows):
    """Weighted line by numpy's polyfit: K and offset in one go, weights from the data."""
    return np.polyfit(rows[:, 2], rows[:, 3] ** 2, 1, w=1 / rows[:, 3] ** 2)[0]


@pytest.mark.parametrize("camera", ["D5100", "Z6_2"])
def test_nikon_gain_against_an_independent_fit(shared_data, camera):
    path = shared_data / "ptc" / f"Nikon_{camera}_flat.csv"
    rows = np.loadtxt(path, delimiter=";")
    profile = calibrate([path]).profile
    assert len(profile.settings) >= 8
    for setting in profile.settings:
        expected = independent_slope(rows[rows[:, 0] == setting.iso])
        assert setting.value("gain_dn_per_e") == pytest.approx(expected, rel=0.02)


def gains(path):
    settings = calibrate([path]).profile.settings
    found = [setting.estimates["gain_dn_per_e"] for setting in settings]
    return (
        np.array([setting.iso for setting in settings]),
        np.array([gain.value for gain in found]),
        np.array([gain.standard_error for gain in found]),
    )


def test_d5100_is_flat_above_1600(shared_data):
    law = fit_gain_law(*gains(shared_data / "ptc" / "Nikon_D5100_flat.csv"))
    assert law.top_iso == 1600


def test_z6_has_no_flat_part_and_predicts_a_left_out_iso(shared_data):
    isos, values, errors = gains(shared_data / "ptc" / "Nikon_Z6_2_flat.csv")
    assert np.isinf(fit_gain_law(isos, values, errors).top_iso)
    for index in range(1, len(isos) - 1):
        rest = np.arange(len(isos)) != index
        predicted = fit_gain_law(isos[rest], values[rest], errors[rest]).predict(float(isos[index]))
        assert predicted.value == pytest.approx(values[index], rel=0.05)
        assert predicted.interval[0] < values[index] < predicted.interval[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("100;0.01;500\n", "line 1"),
        ("100;0.01;500;abc\n", "line 1"),
        ("", "empty"),
        ("100;0.01;500;20\n100;0.02;900;28\n", "expected three"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, text, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        calibrate([path])


@pytest.mark.parametrize(
    ("number", "taken"), [("1e9", True), ("1.01e9", False), ("1e-9", True), ("0.99e-9", False), ("0", False)]
)
@pytest.mark.parametrize("place", range(4))
def test_numbers_of_a_table_are_between_a_billionth_and_a_billion(tmp_path, number, taken, place):
    words = ["100", "0.01", "500", "20"]
    words[place] = number
    (tmp_path / "t.csv").write_text(";".join(words))
    if taken:
        assert read_tables([tmp_path / "t.csv"])[0].rows.tolist() == [[float(word) for word in words]]
        return
    with pytest.raises(DataError, match=r"t\.csv: line 1: expected four positive numbers"):
        read_tables([tmp_path / "t.csv"])


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 7}', '{"schema": "noiseflow camera profile 1"}'])
def test_a_damaged_profile_is_named(tmp_path, text):
    path = tmp_path / "camera.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"camera\.json"):
        read_profile(path)


def test_every_fact_of_the_reference_set_has_words_and_stands_on_its_page(reference, tmp_path):
    calibration, _ = reference
    (setting,) = calibration.profile.settings
    assert setting.facts.keys() <= FACTS.keys()
    write_page(calibration, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert all(FACTS[name].meaning in html.unescape(page) for name in setting.facts)
    assert "e-</td>" not in page
    assert re.search(r">-\d", page) is None
    assert ">−0.0" in page
    links = re.findall(r"href='#([^']+)'", page)
    assert links[0] == "summary"
    assert set(links) == set(re.findall(r"<h2 id='([^']+)'", page))
    assert "prefers-color-scheme:dark" in page


def test_the_page_s_summary_colours_and_intervals(reference, tmp_path):
    calibration, _ = reference
    write_page(calibration, tmp_path / "page.html")
    page = html.unescape((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "<meta name='viewport' content='width=device-width" in page
    assert "@media print" in page
    assert "release 4.0" in page
    summary = page.partition("id='summary'")[2].partition("<h2")[0]
    for figure in ("overall system gain", "threshold", "dynamic range", "SNR max"):
        assert figure in summary
    # Red is drawn red, blue is blue.
    red, blue = (tuple(bytes.fromhex(COLOURS[plane][1:])) for plane in "RB")
    assert red[0] > 2 * red[2]
    assert blue[2] > 2 * blue[0]
    # An interval has the decimals of its value, and two ends: not "512.001 ± 0.020" and "512 … 512".
    rows = re.findall(r"<td class=n>(−?[\d.]+) ± ([\d.]+) *</td><td class=n>(−?[\d.]+)\s… (−?[\d.]+)</td>", page)
    assert len(rows) > 15
    for value, error, low, high in rows:
        assert len({len(number.partition(".")[2]) for number in (value, error, low, high)}) == 1
        assert low != high
