"""Foreign models, samples and the rows of others in one table, by checksums."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noiseflow.core.errors import DataError
from noiseflow.evaluate.benchmark.given import content_digest
from noiseflow.evaluate.benchmark.page import markdown
from noiseflow.evaluate.benchmark.run_benchmark import benchmark
from noiseflow.evaluate.benchmark.spec import read_spec
from noiseflow.evaluate.samples.task import write_clean_patches
from noiseflow.patches import PatchStore

DATA = """
metrics = ["proper_scores"]
[[data]]
name = "PG-12"
camera = "PG-12"
isos = [100]
scenes = 10
size = [64, 128]
[data.ingest]
patch_size = 16
"""
# The noise of PG-12 at ISO 100: K and read noise over the range of 3839 DN.
GAIN, READ, SPAN = 0.25, 3.0, 3839.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark of nlf alone, and samples drawn for its data."""
    folder = tmp_path_factory.mktemp("given")
    (folder / "spec.toml").write_text(DATA + '[[model]]\nname = "nlf"\n')
    benchmark(read_spec(folder / "spec.toml"), folder / "out")
    with PatchStore(folder / "out" / "data" / "PG-12" / "patches.h5") as store:
        task = write_clean_patches(store, folder / "task")
    clean = np.load(task / "clean.npy").astype(np.float64)
    variance = (GAIN * clean.clip(0) * SPAN + READ**2) / SPAN**2
    (folder / "samples").mkdir()
    np.save(folder / "samples" / "noise.npy", np.random.default_rng(0).normal(size=clean.shape) * np.sqrt(variance))
    digest = json.loads((task / "task.json").read_text())["clean_sha256"]
    (folder / "samples" / "samples.json").write_text(json.dumps({"clean_sha256": digest, "name": "numpy"}))
    (folder / "nlf.txt").write_text(f"cam_iso,beta1,beta2\nX_100,{GAIN / SPAN},{READ**2 / SPAN**2}\n")
    return folder


MORE = """
[[model]]
name = "table"
foreign = { path = "nlf.txt", camera = "X", white = 4095, rename = { X = "Simulated PG-12" } }
[[model]]
name = "drawn"
samples = "samples"
"""


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, Any]]:
    (folder / "more.toml").write_text(DATA + MORE)
    return benchmark(read_spec(folder / "more.toml"), folder / "out")


def test_a_foreign_model_and_samples_are_rows(folder: Path, rows: list[dict[str, Any]]) -> None:
    table, drawn = rows
    assert "error" not in table, table
    assert "error" not in drawn, drawn
    assert table["nats_per_dim"]["value"] < -4
    assert drawn["nats_per_dim"] is None
    assert drawn["mpix_per_s"] is None
    assert len({row["samples_sha256"] for row in rows}) == 2
    assert all(len(row["samples_sha256"]) == 64 for row in rows)
    for row in rows:
        assert abs(row["crps_excess"]["value"]) < 0.02
        assert row["given_sha256"] == content_digest(folder / {"table": "nlf.txt", "drawn": "samples"}[row["model"]])
    text = markdown(read_spec(folder / "more.toml"), rows)
    assert "| CRPS above real, σ | energy above real, σ |" in text
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 2
    for header, rule, *lines in tables:
        assert {header.count("|")} == {line.count("|") for line in (rule, *lines)}


def test_other_samples_are_scored_again(folder: Path, rows: list[dict[str, Any]]) -> None:
    noise = np.load(folder / "samples" / "noise.npy")
    np.save(folder / "samples" / "noise.npy", -noise)
    again = benchmark(read_spec(folder / "more.toml"), folder / "out")
    np.save(folder / "samples" / "noise.npy", noise)
    assert again[0] == rows[0]
    assert again[1]["samples_sha256"] != rows[1]["samples_sha256"]


def test_others_append_their_rows(folder: Path, rows: list[dict[str, Any]]) -> None:
    theirs = folder / "theirs" / "results.json"
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text((folder / "out" / "results.json").read_text())
    content = json.loads(theirs.read_text())
    spec = folder / "appended.toml"
    spec.write_text('results = ["theirs/results.json"]\n' + DATA + '[[model]]\nname = "nlf"\n')
    found = benchmark(read_spec(spec), folder / "out")
    assert [row.get("from", "") for row in found] == ["", *[str(theirs)] * len(content["rows"])]
    assert f"| {content['rows'][0]['model']} (theirs) |" in markdown(read_spec(spec), found)
    for change, message in (
        ({"fingerprint": "0" * 64}, r"was scored on other data of the name 'PG-12' \(fingerprint 0{12}, expected"),
        ({"samples_sha256": None}, "samples_sha256"),
        ({"kl": "low"}, "kl"),
        ({"data": "another"}, r"has no row of PG-12; expected results on the same data"),
    ):
        changed = {**content, "rows": [{**content["rows"][0], **change}]}
        theirs.write_text(json.dumps(changed))
        with pytest.raises(DataError, match=message):
            benchmark(read_spec(spec), folder / "out")
    theirs.write_text(json.dumps({**content, "split": "val"}))
    with pytest.raises(DataError, match="its split is 'val'; expected 'test'"):
        benchmark(read_spec(spec), folder / "out")


def test_a_model_is_of_one_kind(folder: Path) -> None:
    spec = folder / "two.toml"
    spec.write_text(DATA + '[[model]]\nname = "a"\nrun = "b"\nsamples = "c"\n')
    with pytest.raises(DataError, match="'a': expected at most one of run, foreign and samples; got run, samples"):
        read_spec(spec)
