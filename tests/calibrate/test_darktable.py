"""The rule between darktable's slopes and K: found by simulation, held against cameras whose K is known."""

import json
import math
import re

import numpy as np
import pytest
from click.testing import CliRunner

from noiseflow.calibrate.profiles.darktable import GREEN_RULE, SPREAD, from_darktable, green_gain, green_slopes
from noiseflow.calibrate.profiles.darktable_atlas import read_atlas
from noiseflow.cli import main
from noiseflow.core.errors import DataError

ISOS = (100, 200, 400, 800, 1600, 3200, 6400)
# Green slopes of darktable 4.2.1 (Debian) at ISOS, facts; a few ISOs whose K/(white − black) is known from elsewhere.
KNOWN = {
    "Nikon D5100: photon-transfer table": (
        (2.4537e-06, 4.4748e-06, 8.3267e-06, 1.5799e-05, 3.1431e-05, 6.007e-05, 1.2274e-04),
        {100: 2.1376e-05, 400: 8.5088e-05, 1600: 3.3257e-04},
    ),
    "Nikon Z6: photon-transfer table of a Z6 II": (
        (1.1445e-06, 1.8425e-06, 3.538e-06, 7.175e-06, 1.5963e-05, 3.1203e-05, 6.2159e-05),
        {100: 1.2808e-05, 400: 4.9089e-05, 1600: 2.0211e-04, 3200: 4.0592e-04},
    ),
    "Sony A7R III: one raw frame at ISO 3200, HDRUtils at ISO 100": (
        (1.8631e-06, 3.3039e-06, 6.0713e-06, 1.2495e-05, 2.4648e-05, 4.8345e-05, 9.5813e-05),
        {100: 2.4213e-05, 3200: 6.263e-04},
    ),
    "Sony A7R: HDRUtils": (
        (1.7545e-06, 3.3692e-06, 6.5747e-06, 1.2703e-05, 2.5041e-05, 5.269e-05, 1.15e-04),
        {100: 2.0814e-05},
    ),
    "Nikon D850: Wei et al. 2020, taken as of ISO 100 to 6400": (
        (2.6739e-06, 4.7978e-06, 9.2209e-06, 1.774e-05, 3.4926e-05, 6.9489e-05, 1.3828e-04),
        {100: 2.5968e-05, 6400: 1.6619e-03},
    ),
    "Canon 5D IV: Wei et al. 2020": (
        (2.7312e-06, 3.9159e-06, 7.1572e-06, 1.2619e-05, 2.339e-05, 4.4205e-05, 8.4849e-05),
        {100: 1.3748e-05, 6400: 8.7984e-04},
    ),
    "Canon 70D: Wei et al. 2020": (
        (4.7134e-06, 7.5521e-06, 1.42e-05, 2.7357e-05, 5.3834e-05, 1.0367e-04, 1.7991e-04),
        {100: 3.079e-05, 6400: 1.9705e-03},
    ),
    "Canon 700D: Wei et al. 2020": (
        (5.7772e-06, 6.5638e-06, 1.264e-05, 2.2554e-05, 4.5005e-05, 9.0161e-05, 1.5253e-04),
        {100: 3.3819e-05, 6400: 2.1647e-03},
    ),
}


def green_of(mosaic):
    """Green at every pixel of an RGGB mosaic, by the edge-directed interpolation of darktable's default."""
    at = {(y, x): np.roll(mosaic, (-y, -x), (0, 1)) for y in range(-3, 4) for x in range(-3, 4) if y == 0 or x == 0}
    guesses, changes = [], []
    for step in ((0, 1), (1, 0)):
        near, far, third = ((at[tuple(-k * s for s in step)], at[tuple(k * s for s in step)]) for k in (1, 2, 3))
        guess = (2 * (near[0] + mosaic + near[1]) - far[0] - far[1]) / 4
        guesses.append(np.clip(guess, np.minimum(*near), np.maximum(*near)))
        steep = 3 * (abs(far[0] - mosaic) + abs(far[1] - mosaic) + abs(near[0] - near[1]))
        changes.append(steep + 2 * (abs(third[0] - near[0]) + abs(third[1] - near[1])))
    y, x = np.indices(mosaic.shape)
    return np.where((y + x) % 2 == 1, mosaic, np.where(changes[0] > changes[1], guesses[1], guesses[0]))


@pytest.mark.parametrize("red", [1.0, 0.5])
def test_the_rule_is_what_demosaicing_leaves_of_the_noise(red):
    rng = np.random.default_rng(1)
    y, x = np.indices((1000, 1000))
    mean = np.where((y + x) % 2 == 1, 1e4, red * 1e4)
    green = green_of(mean + np.sqrt(mean) * rng.standard_normal(mean.shape))
    a, b, c, d = (green[i::2, j::2] for i in (0, 1) for j in (0, 1))
    diagonal = ((a - b - c + d) / 4)[8:-8, 8:-8]
    # 250,000 cells: 0.3 % of the variance; the level of red changes what is interpolated from where.
    assert float(diagonal.var()) / 1e4 == pytest.approx(0.095, rel=0.04)
    # darktable takes the median of |d|/0.6745, which is less for a mixture; well within the interval of the rule.
    robust = float(np.median(np.abs(diagonal)) / 0.6745) ** 2 / 1e4
    assert 0.075 < robust < 0.085
    # The rule of real cameras lies between what the two say.
    assert 0.075 < GREEN_RULE < 0.097
    assert green_gain(robust, 1.0).covers(1.0)


@pytest.mark.parametrize("camera", KNOWN)
def test_the_rule_holds_for_cameras_whose_gain_is_known(camera):
    slopes, known = KNOWN[camera]
    found = green_slopes(zip(ISOS, slopes, [0.0] * len(ISOS), strict=True))
    for iso, gain in known.items():
        assert green_gain(found[iso], 1.0).covers(gain)
        # And it is of use: a tenth of K would lie outside by far.
        assert not green_gain(found[iso], 1.0).covers(2 * gain)
        assert not green_gain(found[iso], 1.0).covers(found[iso])


def test_the_rule_is_the_mean_of_the_cameras_and_its_interval_their_scatter():
    logs = []
    for slopes, known in KNOWN.values():
        found = green_slopes(zip(ISOS, slopes, [0.0] * len(ISOS), strict=True))
        # HDRUtils' gain of the A7R III is a third party's, without an error; the frame's is ours, to 1 %.
        ours = [math.log(found[iso] / gain) for iso, gain in known.items() if (iso, gain) != (100, 2.4213e-05)]
        logs.append(sum(ours) / len(ours))
    assert math.exp(np.mean(logs)) == pytest.approx(GREEN_RULE, rel=0.03)
    assert np.std(logs, ddof=1) * math.sqrt(1 + 1 / 8) * 2.365 == pytest.approx(SPREAD, rel=0.15)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([(100, 2e-6, -5e-7), (200, 4e-6, 0.0)], {200: 4e-6}),
        ([(100, 2e-6, 1e-8), (100, 3e-6, 0.0)], {100: 2e-6}),
        ([(50, 9e-6, 0.0), (100, 2e-6, 0.0), (200, 4e-6, 0.0)], {50: 9e-6, 100: 2e-6, 200: 4e-6}),
        ([(64, -1e-6, 0.0)], {}),
        ([(100, math.nan, 0.0)], {}),
    ],
)
def test_slopes_of_photon_noise(lines, expected):
    assert green_slopes(lines) == pytest.approx(expected)


@pytest.fixture
def file(tmp_path):
    entry = {"name": "x", "iso": 100, "a": [6.0e-06, 2.4536568911529e-06, 3.5e-06], "b": [-6e-08, -8e-08, -2e-08]}
    skipped = {**entry, "iso": 200, "skip": True}
    models = [{"model": "D5100", "profiles": [entry, skipped]}]
    path = tmp_path / "noiseprofiles.json"
    path.write_text(json.dumps({"version": 0, "noiseprofiles": [{"maker": "Nikon", "models": models}]}))
    return path


def test_a_profile_with_levels_has_a_gain_known_to_a_third(file):
    profile = from_darktable(file, "nikon", "d5100", black_dn=0, white_dn=16383)
    assert profile.isos == (100.0,)
    setting = profile.at(100.0, "G1")
    assert setting.kind == "published"
    assert setting.estimates["gain_dn_per_e"].covers(0.350)
    assert "third" in profile.cautions[0]


def test_without_levels_it_is_relative(file):
    profile = from_darktable(file, "Nikon", "D5100")
    assert {setting.kind for setting in profile.settings} == {"relative"}
    with pytest.raises(DataError, match="both"):
        from_darktable(file, "Nikon", "D5100", white_dn=16383)


D5100 = '{"noiseprofiles": [{"maker": "Nikon", "models": [{"model": "D5100", "profiles": [%s]}]}]}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("[]", "no darktable noise profile of Nikon D5100: its entries have another structure"),
        ("{}", "no darktable noise profile of Nikon D5100: it has no entry 'noiseprofiles'"),
        ('{"noiseprofiles": [{"maker": "Nikon", "models": []}]}', "has no camera Nikon D5100; `noiseflow profiles"),
        (D5100 % "", "Nikon D5100: no setting has a positive slope and variance"),
        (D5100 % '{"iso": 100, "a": [1, -1, 1], "b": [0, 0, 0]}', "Nikon D5100: expected three slopes above 0"),
    ],
)
def test_a_file_without_the_camera_is_named(tmp_path, text, message):
    path = tmp_path / "noiseprofiles.json"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"noiseprofiles\.json: .*{re.escape(message)}"):
        from_darktable(path, "Nikon", "D5100")


@pytest.mark.parametrize(("text", "message"), [("{}", "it has no entry 'noiseprofiles'"), ("[]", "another structure")])
def test_what_is_no_database_is_said_in_words(tmp_path, text, message):
    path = tmp_path / "noiseprofiles.json"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"is not a darktable noise database: .*{message}"):
        read_atlas(path)


def test_the_atlas_lists_every_camera_with_its_range(tmp_path):
    good = {"iso": 100, "a": [6.0e-06, 2.4536568911529e-06, 3.5e-06], "b": [0, -8e-08, 0]}
    bad = {"iso": 200, "a": [1e-6, 4e-6, 1e-6], "b": [0, -1e-3, 0]}
    models = [{"model": "D5100", "profiles": [good, bad]}, {"model": "None", "profiles": [bad]}]
    path = tmp_path / "noiseprofiles.json"
    path.write_text(json.dumps({"noiseprofiles": [{"maker": "Nikon", "models": models}]}))
    (camera,), none = read_atlas(path)
    # K = 0.350 DN/e- of 16383 DN, by its photon-transfer table.
    assert camera.full_electrons.covers(16383 / 0.350)
    assert (camera.name, camera.isos, camera.left_out, none) == ("Nikon D5100", (100.0,), 1, ("Nikon None",))
    listed = CliRunner().invoke(main, ["profiles", "--darktable", str(path)])
    assert "Nikon D5100: ISO 100 to 100; full scale 40,4" in listed.output
    for words, message in (
        (["None"], "Nikon None has no physically possible setting"),
        (["Leica"], "no camera 'Leica'"),
    ):
        refused = CliRunner().invoke(main, ["profiles", *words, "--darktable", str(path)])
        assert refused.exit_code == 1
        assert message in refused.output
    refused = CliRunner().invoke(main, ["profiles", "--darktable", str(tmp_path / "none.json")])
    assert "no such darktable database" in refused.output
