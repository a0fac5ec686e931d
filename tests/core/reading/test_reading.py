"""Files of our own that lie: refused by their place, or found by their checksums."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from noiseflow.calibrate import read_profile, write_profile
from noiseflow.calibrate.profiles.published import shipped_names, shipped_profile
from noiseflow.cli import main
from noiseflow.core.errors import DataError, ModelError, NoiseflowError
from noiseflow.core.output.manifest import MANIFEST
from noiseflow.core.reading.schema import Choice, Flag, ListOf, MapOf, Maybe, Number, Plain, Table, Text, built, checked
from noiseflow.core.reading.text import json_value, read_json, read_toml
from noiseflow.evaluate.benchmark.spec import read_spec
from noiseflow.fit import FitSettings
from noiseflow.models import ModelSpec, build, import_published, load, save

NOT_JSON = {
    "a name twice": '{"a": 1, "a": 2}',
    "deep lists": "[" * 50 + "]" * 50,
    "very deep lists": "[" * 100_000,
    "no number": '{"a": NaN}',
    "half a character": '{"a": "\\ud800"}',
    "too many digits": "9" * 5000,
    "cut": '{"a": ',
}


@pytest.mark.parametrize("text", NOT_JSON.values(), ids=list(NOT_JSON))
def test_json_is_parsed_strictly(text: str) -> None:
    with pytest.raises(DataError, match=r"^x: "):
        json_value(text, "x", "a table", DataError)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff\xfe")
    (tmp_path / "b").write_text("x = [" + "[" * 5000)
    with pytest.raises(DataError, match="not text in UTF-8"):
        read_json(tmp_path / "a", "a table", DataError)
    with pytest.raises(DataError, match="cannot be read as TOML"):
        read_toml(tmp_path / "b", "a table", DataError)
    with pytest.raises(DataError, match="of at most 1"):
        read_json(tmp_path / "a", "a table", DataError, most=1)
    with pytest.raises(DataError, match="not a regular file"):
        read_json(tmp_path, "a table", DataError)


SCHEMA = Table(
    {"n": Number(0, 10, whole=True)},
    {
        "x": Number(0, above=True),
        "name": Text(3, 1, "[a-z]*"),
        "flag": Flag(),
        "kind": Choice(("a", 1)),
        "list": ListOf(Number(), 1, 2),
        "map": MapOf(Maybe(Text(5))),
        "plain": Plain(),
    },
)
MISFITS = {
    "n": [{}, {"n": 1.0}, {"n": True}, {"n": 11}, {"n": "1"}, {"n": 10**30}],
    "x": [{"n": 1, "x": 0}, {"n": 1, "x": float("nan")}, {"n": 1, "x": float("inf")}],
    "name": [{"n": 1, "name": ""}, {"n": 1, "name": "abcd"}, {"n": 1, "name": "A"}, {"n": 1, "name": 1}],
    "flag": [{"n": 1, "flag": 1}],
    "kind": [{"n": 1, "kind": "b"}, {"n": 1, "kind": True}],
    "list": [{"n": 1, "list": []}, {"n": 1, "list": [1, 2, 3]}, {"n": 1, "list": ["a"]}, {"n": 1, "list": {}}],
    "map": [{"n": 1, "map": {"a": 1}}, {"n": 1, "map": []}],
    "plain": [{"n": 1, "plain": [{"a": float("inf")}]}],
    "other": [{"n": 1, "other": 1}],
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_schema_names_the_place_of_what_does_not_fit(name: str) -> None:
    fits = {"n": 1, "x": 2.5, "name": "abc", "flag": True, "kind": 1, "list": [1], "map": {"a": None}, "plain": [{}]}
    assert checked(fits, SCHEMA, "x", DataError) is fits
    for value in MISFITS[name]:
        with pytest.raises(DataError, match=rf"^x: .*{name}.*expected|^x: it: expected.*got.*{name}"):
            checked(value, SCHEMA, "x", DataError)


@pytest.mark.parametrize("values", [{"epochs": "x"}, {"epochs": True}, {"epochs": 1.5}, {"nothing": 1}, {"epochs": -1}])
def test_settings_of_a_file_have_the_types_of_their_dataclass(values: dict[str, Any]) -> None:
    assert built(FitSettings, {"epochs": 2}, "here", DataError).epochs == 2
    with pytest.raises(NoiseflowError):
        built(FitSettings, values, "here", DataError)


def a_run(folder: Path, options: dict[str, Any] | None = None) -> Path:
    save(build(ModelSpec("realnvp", cameras=("A",), isos=(100.0, 400.0), options=options or {"width": 4})), folder)
    return folder


def test_equal_models_are_equal_files(tmp_path: Path) -> None:
    files = [(a_run(tmp_path / f"{number}") / "model.safetensors").read_bytes() for number in range(6)]
    assert len(set(files)) == 1


@pytest.mark.parametrize("name", ["spec.json", "model.safetensors"])
def test_a_changed_byte_of_a_run_is_found(tmp_path: Path, name: str) -> None:
    run = a_run(tmp_path / "run")
    content = bytearray((run / name).read_bytes())
    content[-4] ^= 1
    (run / name).write_bytes(content)
    with pytest.raises(ModelError, match="was changed since it was written"):
        load(run)
    result = CliRunner().invoke(main, ["info", str(run)])
    assert result.exit_code == 1


def spoilt(run: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change the weights of a run, as one of an earlier version, whose folder has no checksums."""
    from safetensors.torch import load_file, save_file

    weights = load_file(run / "model.safetensors")
    change(weights)
    save_file(weights, run / "model.safetensors")
    (run / MANIFEST).unlink()


SPOILT: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], str]] = {
    "nothing": (lambda weights: None, ""),
    "NaN": (lambda weights: weights["flow.transforms.0.log_beta1"].fill_(float("nan")), "NaN or infinity"),
    "infinite": (lambda weights: weights["flow.transforms.0.log_beta1"].fill_(float("-inf")), "NaN or infinity"),
    "a sum beyond float32, as of wide noise": (
        lambda weights: weights.update({"flow.transforms.0.log_beta1": torch.full((2,), 3e38)}),
        r"is float32 \(?\[?2.*expected float32",
    ),
    "8 bits": (
        lambda weights: weights.update({"flow.transforms.0.log_beta1": torch.zeros(1).to(torch.float8_e4m3fn)}),
        "expected float32",
    ),
    "loud": (lambda weights: weights["flow.transforms.0.log_beta2"].fill_(30.0), "full scales|noise is not plausible"),
    "gone": (lambda weights: weights.pop("flow.transforms.0.log_beta1"), "is missing"),
    "another type": (
        lambda weights: weights.update({"flow.transforms.0.log_beta1": torch.zeros(1, dtype=torch.float64)}),
        "expected float32",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_weights_of_an_older_run_are_tried(tmp_path: Path, name: str) -> None:
    change, words = SPOILT[name]
    run = a_run(tmp_path / "run")
    spoilt(run, change)
    if not words:
        load(run)
        return
    with pytest.raises(ModelError, match=words):
        load(run)


def test_a_spec_that_asks_for_more_than_its_weights_hold_is_refused_before_it_is_built(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    (run / MANIFEST).unlink()
    (run / "spec.json").write_text((run / "spec.json").read_text().replace('"width": 4', '"width": 9999'))
    with pytest.raises(ModelError, match="allow at most"):
        load(run)
    (run / "spec.json").write_text((run / "spec.json").read_text().replace('"width": 9999', '"width": "4"'))
    with pytest.raises(ModelError, match=r"spec\.json"):
        load(run)


def test_a_changed_profile_is_found_and_an_older_one_still_read(tmp_path: Path) -> None:
    path = tmp_path / "camera.json"
    write_profile(shipped_profile(shipped_names()[0]), path)
    content = json.loads(path.read_text())
    content["settings"][0]["estimates"]["gain_dn_per_e"]["value"] *= 1.01
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="was changed since it was written"):
        read_profile(path)
    del content["sha256"]
    path.write_text(json.dumps(content))
    assert read_profile(path).camera == shipped_names()[0]
    said = CliRunner().invoke(main, ["info", str(path), "--verify"])
    assert (said.exit_code, "older format: no checksum" in said.output) == (0, True), said.output
    content["settings"][0]["estimates"]["gain_dn_per_e"]["value"] = "1"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"settings\[0\]\.estimates\.gain_dn_per_e\.value: expected a finite number"):
        read_profile(path)


def test_info_verifies_a_run(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    said = CliRunner().invoke(main, ["info", str(run), "--verify"])
    assert (said.exit_code, "2 files match" in said.output) == (0, True), said.output
    (run / "fit.json").write_text("mine")
    with (run / MANIFEST).open("a") as known:
        known.write('{"file": "fit.json", "sha256": "0"}\n')
    said = CliRunner().invoke(main, ["info", str(run), "--verify"])
    assert (said.exit_code, "'fit.json'" in said.output) == (1, True), said.output


def test_weights_that_unpack_to_gigabytes_are_refused_before_they_are(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as file:
        for _ in range(80):
            file.write(bytes(1 << 20))
    with pytest.raises(ModelError, match="expected published weights, with at most"):
        import_published(bomb)
    np.save(tmp_path / "a.npy", np.zeros(3))
    lies = (tmp_path / "a.npy").read_bytes().replace(b"(3,)", b"(9,)")
    with zipfile.ZipFile(tmp_path / "lies.npz", "w") as archive:
        archive.writestr("a.npy", lies)
    with pytest.raises(ModelError, match="cannot read the weights"):
        import_published(tmp_path / "lies.npz")


@pytest.mark.parametrize(
    "line",
    [
        "seed = -1",
        'seed = "a"',
        "max_patches = 0",
        'split = "all"',
        "what = 1",
        "seed = nan",
        "seed = 1e400",
        "title = 1",
    ],
)
def test_a_benchmark_of_wrong_values_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(f'{line}\n[[data]]\nname = "a"\nstore = "p.h5"\n[[model]]\nname = "nlf"\n')
    with pytest.raises(DataError, match=r"spec\.toml"):
        read_spec(path)


def test_a_damaged_store_is_one_clear_line(tmp_path: Path) -> None:
    """Bytes of HDF5's own tables, which every reader that looks at the file must take."""
    from builders import gaussian_store

    gaussian_store(tmp_path / "p.h5", patches=4).close()
    content = (tmp_path / "p.h5").read_bytes()
    rng = np.random.default_rng(0)
    for case in range(40):
        changed = bytearray(content)
        for at in rng.integers(0, 2048, 4):
            changed[at] = int(rng.integers(0, 256))
        (tmp_path / "p.h5").write_bytes(changed)
        result = CliRunner().invoke(main, ["info", str(tmp_path / "p.h5"), "--verify"])
        assert result.exception is None or isinstance(result.exception, SystemExit), (case, result.exception)
