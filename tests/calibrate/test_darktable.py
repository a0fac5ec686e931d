"""The rule between darktable's slopes and K: found by simulation, held against cameras whose K is known."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from noiseflow.calibrate.profiles.darktable import GREEN_RULE, from_darktable, green_gain
from noiseflow.calibrate.profiles.darktable_atlas import read_atlas
from noiseflow.cli import main
from noiseflow.core.errors import DataError

# Green slopes of darktable 4.2.1 (Debian), facts; K/(white − black) from elsewhere, by its source.
KNOWN = {
    "Nikon D5100, ISO 100: photon-transfer table": (2.4536568911529e-06, 0.350 / 16383),
    "Nikon D5100, ISO 1600: photon-transfer table": (3.14310844048772e-05, 5.397 / 16383),
    "Sony A7R III, ISO 3200: one raw frame": (4.83452567900874e-05, 9.94 / 15871),
    "Sony A7R III, ISO 100: HDRUtils": (1.86313145702916e-06, 0.384277 / 15871),
    "Sony A7R, ISO 100: HDRUtils": (1.75453054693271e-06, 0.330341 / 15871),
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
    assert float(diagonal.var()) / 1e4 == pytest.approx(GREEN_RULE, rel=0.04)
    # darktable takes the median of |d|/0.6745, which is less for a mixture; well within the interval of the rule.
    robust = float(np.median(np.abs(diagonal)) / 0.6745) ** 2 / 1e4
    assert 0.075 < robust < 0.085
    assert green_gain(robust, 1.0).covers(1.0)


@pytest.mark.parametrize("camera", KNOWN)
def test_the_rule_holds_for_cameras_whose_gain_is_known(camera):
    slope, known = KNOWN[camera]
    gain = green_gain(slope, 1.0)
    assert gain.covers(known)
    # And it is of use: a tenth of K would lie outside by far.
    assert not gain.covers(2 * known)
    assert not gain.covers(slope)


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


@pytest.mark.parametrize("text", ["", "[]", '{"noiseprofiles": [{"maker": "Nikon", "models": []}]}'])
def test_a_file_without_the_camera_is_named(tmp_path, text):
    path = tmp_path / "noiseprofiles.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"noiseprofiles\.json: no darktable"):
        from_darktable(path, "Nikon", "D5100")


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
    assert "Nikon D5100: ISO 100 to 100; 38,7" in listed.output
    for words, message in (
        (["None"], "Nikon None has only settings that are not physical"),
        (["Leica"], "no camera 'Leica'"),
    ):
        refused = CliRunner().invoke(main, ["profiles", *words, "--darktable", str(path)])
        assert refused.exit_code == 1
        assert message in refused.output
    refused = CliRunner().invoke(main, ["profiles", "--darktable", str(tmp_path / "none.json")])
    assert "no darktable database" in refused.output
