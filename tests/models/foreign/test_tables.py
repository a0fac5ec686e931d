"""Published tables of cameras as models: their variance against the tables' own numbers."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from noiseflow.calibrate.profiles.darktable import GREEN_RULE, green_slopes
from noiseflow.core.errors import DataError, ModelError
from noiseflow.flows.conditions import Conditions
from noiseflow.models import NoiseModel, load, save
from noiseflow.models.foreign.formats import FORMATS, format_of, import_model, renamed
from noiseflow.models.foreign.source import ForeignSource
from noiseflow.raw.settings import RawSettings
from noiseflow.simulate.physics import tukey_lambda_variance

CAMERA = {
    "Kmin": 0.1,
    "Kmax": 1.6,
    "G_shape": [0.1, 0.2],
    "Profile-1": {
        "G_scale": {"slope": 0.5, "bias": 1.0, "sigma": 0.2},
        "g_scale": {"slope": 0.5, "bias": 1.5, "sigma": 0.2},
        "R_scale": {"slope": 0.6, "bias": -0.5, "sigma": 0.2},
    },
    "color_bias": [[1.0, 1.0, 1.0, 1.0]],
}
AS_LED = {
    "noise_g": {
        "camera_params": {
            "Mine": {
                "Kmin": 0.1,
                "Kmax": 1.6,
                "Row": CAMERA["Profile-1"]["R_scale"],
                "TukeyLambda": {**CAMERA["Profile-1"]["G_scale"], "lambda": [0.1, 0.2]},
            }
        }
    }
}


def variance(model: NoiseModel, iso: float, level: float, count: int = 128) -> float:
    cond = Conditions(torch.full((count, 4, 32, 32), level), iso, model.cameras[0])
    noise = model.sample(cond, torch.Generator().manual_seed(1))
    return float(noise.double().square().mean())


def elds(path: Path) -> Path:
    """As ELD's authors write it: an array of one pickled table."""
    np.save(path, np.array(CAMERA, dtype=object), allow_pickle=True)
    return path


def leds(path: Path) -> Path:
    path.write_text(pytest.importorskip("yaml").safe_dump(AS_LED))
    return path


def eld_json(path: Path) -> Path:
    path.write_text(json.dumps({"Other": CAMERA, "Mine": CAMERA}))
    return path


@pytest.mark.parametrize(
    ("name", "make", "form"),
    [("Mine_params.npy", elds, "eld"), ("mine.yaml", leds, "led"), ("cameras.json", eld_json, "eld")],
)
def test_eld_and_led_have_the_variance_of_their_lines(tmp_path: Path, name: str, make, form: str) -> None:
    """Three ISOs, within 3 %: rows are 8,192 draws of a tenth of the variance; a false alarm in 10⁶ seeds."""
    path = make(tmp_path / name)
    assert format_of(path) == form
    model = import_model(ForeignSource(path, RawSettings(camera="Mine", iso=50.0)))
    assert model.cameras == ("Mine",)
    assert model.iso_range == (50.0, 800.0)
    span = 16383.0 - 800.0
    for stop in (0, 2, 4):
        gain = 0.1 * 2**stop
        read, row = np.exp(0.5 * np.log(gain) + 1.0), np.exp(0.6 * np.log(gain) - 0.5)
        dark = read**2 * tukey_lambda_variance(0.15) + row**2 + 1 / 12
        for level in (0.05, 0.3):
            assert variance(model, 50.0 * 2**stop, level) * span**2 == pytest.approx(
                gain * level * span + dark, rel=0.03
            )


@pytest.mark.parametrize(("least", "largest"), [(0.01, 0.08), (3.0, 3.0), (0.5, 700.0)])
def test_any_gains_are_taken_and_their_ratio_is_that_of_the_isos(tmp_path: Path, least: float, largest: float) -> None:
    gains = {"Kmin": least, "Kmax": largest}
    (tmp_path / "Mine.json").write_text(json.dumps({"Mine": CAMERA | gains}))
    led = {"Mine": AS_LED["noise_g"]["camera_params"]["Mine"] | gains}
    (tmp_path / "led.json").write_text(json.dumps(led))
    for name in ("Mine.json", "led.json"):
        model = import_model(ForeignSource(tmp_path / name))
        assert model.iso_range == pytest.approx((100.0, 100.0 * largest / least))


def test_one_shape_of_read_noise_is_enough(tmp_path: Path) -> None:
    (tmp_path / "eld.json").write_text(json.dumps({"Mine": CAMERA | {"G_shape": [0.15]}}))
    mine = AS_LED["noise_g"]["camera_params"]["Mine"]
    one = mine | {"TukeyLambda": mine["TukeyLambda"] | {"lambda": [0.15]}}
    (tmp_path / "led.json").write_text(json.dumps({"Mine": one}))
    eld, led = (import_model(ForeignSource(tmp_path / name)) for name in ("eld.json", "led.json"))
    assert variance(eld, 100.0, 0.1, 8) == pytest.approx(variance(led, 100.0, 0.1, 8), rel=1e-6)
    # Read noise of a profile is the sum of the law's, of rows and of rounding.
    read, row = np.exp(0.5 * np.log(0.1) + 1.0), np.exp(0.6 * np.log(0.1) - 0.5)
    total = (read**2 * tukey_lambda_variance(0.15) + row**2 + 1 / 12) ** 0.5
    for model in (eld, led):
        numbers = json.dumps(model.spec.options["profile"])
        assert any(
            float(each) == pytest.approx(total, rel=1e-6) for each in re.findall(r"\d+\.\d+(?:e-?\d+)?", numbers)
        )


def test_the_shared_parameters_of_eld(shared_data: Path) -> None:
    path = shared_data / "params" / "eld_camera_params.json"
    model = import_model(ForeignSource(path, RawSettings(camera="SonyA7S2")))
    # Kmax / Kmin is 64: ISO 100 to 6400.
    assert model.iso_range == pytest.approx((100.0, 6400.0))
    with pytest.raises(ModelError, match=r"CanonEOS700D, not 'A': choose one with --camera"):
        import_model(ForeignSource(path, RawSettings(camera="A")))


def test_sidd_s_noise_level_functions_are_the_line(shared_data: Path) -> None:
    path = shared_data / "params" / "cam_iso_nlf.txt"
    model = import_model(ForeignSource(path, RawSettings(camera="S6")))
    rows = [line.split(",") for line in path.read_text().split() if line.startswith("S6_00800")]
    beta1, beta2 = (float(value) for value in rows[0][1:])
    assert variance(model, 800.0, 0.4) == pytest.approx(beta1 * 0.4 + beta2, rel=0.02)


def test_darktable_by_its_rule(tmp_path: Path) -> None:
    entry = {"name": "x", "iso": 100, "a": [3e-6, 2e-6, 3e-6], "b": [1e-8, 2e-8, 1e-8]}
    unphysical = {"name": "y", "iso": 200, "a": [3e-6, 4e-6, 3e-6], "b": [1e-8, -2e-8, 1e-8]}
    table = {"noiseprofiles": [{"maker": "Own", "models": [{"model": "One", "profiles": [entry, unphysical]}]}]}
    path = tmp_path / "noiseprofiles.json"
    path.write_text(json.dumps(table))
    assert format_of(path) == "darktable"
    source = ForeignSource(path, RawSettings(camera="own one", black=(512.0,), white=16383.0))
    model = import_model(source)
    slopes = green_slopes([(100.0, 2e-6, 2e-8), (200.0, 4e-6, -2e-8)])
    assert variance(model, 100.0, 0.3) == pytest.approx((slopes[100.0] * 0.3 + 2e-8) / GREEN_RULE, rel=0.01)
    rounding = 1 / 12 / (16383.0 - 512.0) ** 2
    assert variance(model, 200.0, 0.3) == pytest.approx(slopes[200.0] * 0.3 / GREEN_RULE + rounding, rel=0.01)
    with pytest.raises(ModelError, match="no levels: give --camera"):
        import_model(ForeignSource(path, RawSettings(camera="own one")))
    with pytest.raises(ModelError, match='no camera "another"'):
        import_model(ForeignSource(path, RawSettings(camera="another", black=(512.0,), white=16383.0)))


def test_every_format_says_what_it_is_and_claims_nothing_strange(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "b.npy").write_bytes(b"\x93NUMPY nonsense")
    (tmp_path / "c.npz").write_bytes(b"PK nonsense")
    for path in (*tmp_path.iterdir(), tmp_path / "gone"):
        for name, form in FORMATS.items():
            assert form.what
            assert not form.claims(path), (name, path)
    with pytest.raises(ModelError, match=r"none of the formats noise_flow, .* give --format"):
        format_of(tmp_path / "a.json")
    with pytest.raises(ModelError, match="gone: no such file or folder"):
        format_of(tmp_path / "gone")


def test_another_name_for_a_camera_with_a_profile(tmp_path: Path) -> None:
    source = ForeignSource(elds(tmp_path / "Mine_params.npy"))
    save(renamed(import_model(source), "Mine", "Another"), tmp_path / "run")
    assert load(tmp_path / "run").cameras == ("Another",)
    with pytest.raises(ModelError, match="camera 'None'"):
        renamed(import_model(source), "None", "Another")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Kmin": 2.0}, "expected 0 < Kmin ≤ Kmax"),
        ({"Kmax": "much"}, "Mine.*Kmax"),
        ({"G_shape": []}, "G_shape"),
        ({"extra": 1}, "extra"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "Mine.json"
    path.write_text(json.dumps({"Mine": CAMERA | change}))
    with pytest.raises((ModelError, DataError), match=message):
        import_model(ForeignSource(path))
