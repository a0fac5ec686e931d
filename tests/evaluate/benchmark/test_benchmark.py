import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from noiseflow.cli import main
from noiseflow.cli.scores.benchmark import print_results
from noiseflow.core.errors import DataError
from noiseflow.core.output.listed import fresh_folder
from noiseflow.core.sortable import SORT_SCRIPT
from noiseflow.evaluate import write_report
from noiseflow.evaluate.benchmark import cell, run_benchmark
from noiseflow.evaluate.benchmark.page import cells_of, write_results
from noiseflow.evaluate.benchmark.run_benchmark import benchmark
from noiseflow.evaluate.benchmark.spec import BenchmarkSpec, read_spec
from noiseflow.evaluate.evaluate_models import evaluate
from noiseflow.evaluate.report import report
from noiseflow.evaluate.report.compare_reports import compare

SPEC = """
title = "Small"
[[data]]
name = "PG-12"
camera = "PG-12"
isos = [100]
scenes = 10
size = [64, 128]
[[model]]
name = "nlf"
[[model]]
name = "gaussian"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benchmark")


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, Any]]:
    (folder / "spec.toml").write_text(SPEC, encoding="utf-8")
    return benchmark(read_spec(folder / "spec.toml"), folder / "out")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("width", "shown"), [(40, 1), (80, 2), (160, 2)])
def test_a_terminal_of_any_width_shows_whole_numbers(
    width: int, shown: int, folder: Path, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys, "stdout", Terminal())
    failed = {"data": "PG-12", "model": "maf", "error": "it is too large for the memory of this machine"}
    print_results(read_spec(folder / "spec.toml"), [*rows, failed])
    text = re.sub(r"\x1b\[[0-9;]*m", "", sys.stdout.getvalue())
    monkeypatch.undo()
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert lines[1].split() == ["measure", "nlf", "gaussian"][: shown + 1]
    for row in rows[:shown]:
        nll, kl = cells_of(row)[1], cells_of(row)[6]
        assert nll in text
        assert kl in text
    assert ("Not shown, because the terminal is too narrow: gaussian" in " ".join(text.split())) == (shown == 1)
    assert "maf: failed: it is too large" in text
    assert "faults of nlf:" in text


def test_one_table_as_json_markdown_and_page(folder: Path, rows: list[dict[str, Any]]) -> None:
    assert [(row["data"], row["model"]) for row in rows] == [("PG-12", "nlf"), ("PG-12", "gaussian")]
    content = json.loads((folder / "out" / "results.json").read_text("utf-8"))
    assert content["rows"] == rows
    nlf, gaussian = rows
    # The reference is not compared with itself; of the other the sign says that it is worse.
    assert nlf["better_than_reference"] is None
    difference = nlf["nats_per_dim"]["value"] - gaussian["nats_per_dim"]["value"]
    assert gaussian["better_than_reference"]["value"] == pytest.approx(difference)
    assert difference < 0
    text = (folder / "out" / "results.md").read_text("utf-8")
    assert "| better than nlf, nats/dim |" in text
    assert nlf["fingerprint"][:12] in text
    page = (folder / "out" / "index.html").read_text("utf-8")
    for row in rows:
        link = f"cells/PG-12/{row['model']}/report/index.html"
        assert f'href="{link}"' in page
        assert (folder / "out" / link).is_file()
    # A column's heading sorts by it, and what is too wide scrolls with a cue.
    assert page.count('<table data-sort="rows">') == 1
    assert SORT_SCRIPT in page
    assert "prefers-color-scheme: dark" in page
    assert "Scroll the table sideways" in page
    # On paper all columns are seen: 1,087 px do not fit on upright A4.
    assert "@page { size: A4 landscape; }" in page


def test_a_number_its_interval_and_its_floor_have_lines_of_their_own(
    folder: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    # Else the table is wider than the 1,248 px of its page.
    kl = {"value": 0.00058, "standard_error": 0.0003, "low": 0.00004, "high": 0.00112, "groups": 9}
    fresh_folder(tmp_path, "benchmark")
    write_results(read_spec(folder / "spec.toml"), [{**rows[0], "kl": kl, "kl_floor": 0.00018}], tmp_path)
    page = (tmp_path / "index.html").read_text("utf-8")
    assert '0.00058<span class="pm"> ± 0.00054</span><span class="pm"> (0.00018)</span>' in page


def test_each_judge_has_a_line_of_its_own(folder: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    """All after the first ± was one line that could not break: 1,617 px in the 1,248 of the page."""
    (tmp_path / "spec.toml").write_text(SPEC.replace("[[data]]", 'metrics = ["judges"]\n[[data]]', 1), "utf-8")
    wide = {"standard_error": 0.01, "groups": 9}
    judges = {"rows": {**wide, "value": 0.55, "low": 0.53, "high": 0.57}}
    judges["spectra"] = {**wide, "value": 0.61, "low": 0.58, "high": 0.64}
    fresh_folder(tmp_path / "out", "benchmark")
    write_results(read_spec(tmp_path / "spec.toml"), [{**rows[0], "judges": judges}], tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert '<span class="line">rows 55.0 ± 2.0, </span><span class="line">spectra 61.0 ± 3.0</span>' in page


def test_no_interval_of_a_table_leaves_the_range_of_its_measure(rows: list[dict[str, Any]]) -> None:
    wide = {"standard_error": 0.5, "groups": 9}
    found = cells_of(
        {
            **rows[0],
            "kl": {**wide, "value": 0.4, "low": -0.1, "high": 0.9},
            "kl_floor": 0.1,
            "variance_ratio": {**wide, "value": 1.1, "low": -0.5, "high": 2.7},
            "two_sample": {**wide, "value": 0.976, "low": 0.927, "high": 1.025},
        }
    )
    assert found[6:9] == ["0.40 (0.00 to 0.90) (0.10)", "1.1 (0.0 to 2.7)", "97.6 (92.7 to 100.0)"]


def test_what_is_finished_is_not_run_again(
    folder: Path, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("ran again")

    for module, name in ((cell, "fit"), (run_benchmark, "simulate"), (run_benchmark, "ingest"), (cell, "evaluate")):
        monkeypatch.setattr(module, name, never)
    assert benchmark(read_spec(folder / "spec.toml"), folder / "out") == rows
    # A record that is not as we wrote it is somebody's: its cell is an error that names it.
    record = folder / "out" / "cells" / "PG-12" / "gaussian" / "cell.json"
    whole = record.read_text("utf-8")
    record.write_text("{")
    [damaged] = [row for row in benchmark(read_spec(folder / "spec.toml"), folder / "out") if "error" in row]
    assert "contains files that noiseflow did not write: 'cell.json'" in damaged["error"]
    assert record.read_text("utf-8") == "{"
    record.write_text(whole)


def test_the_key_changes_with_what_the_result_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(**changes: Any) -> str:
        from noiseflow.evaluate.benchmark.spec import ModelChoice

        model = ModelChoice(name="m", fit=changes.pop("fit", {}))
        given: dict[str, Any] = {
            "folder": Path("a"),
            "store": Path("s"),
            "fingerprint": "f",
            "data": "d",
            "base": Path("."),
            "seed": 0,
            "split": "test",
            "max_patches": None,
            "reference": "nlf",
        }
        return cell.BenchmarkCell(model=model, **{**given, **changes}).key

    assert key() == key(folder=Path("b"), store=Path("elsewhere"))
    assert len({key(), key(seed=1), key(fingerprint="g"), key(fit={"epochs": 2}), key(max_patches=9)}) == 5
    before = key()
    monkeypatch.setattr(cell, "ROW", cell.ROW + 1)
    assert key() != before


def test_a_cell_that_fails_says_why_and_the_command_exits_with_1(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "bad.toml").write_text(SPEC + '[[model]]\nname = "unheard of"\n', encoding="utf-8")
    result = CliRunner().invoke(main, ["benchmark", str(folder / "bad.toml"), "--out", str(folder / "out")])
    assert result.exit_code == 1
    assert "1 of 3 cells failed; unheard of on PG-12: model 'unheard of' is not known" in result.stderr
    assert "failed: model" in (folder / "out" / "results.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title = ", "cannot be read as TOML"),
        (SPEC.replace("camera =", "kamera ="), "got 'kamera'"),
        (SPEC.replace('name = "nlf"', 'model = "nlf"'), "expected an entry 'name'"),
        (SPEC.replace('"gaussian"', '"nlf"'), r"different names of \[\[model\]\]"),
        (SPEC.replace('"gaussian"', '"../up"'), "expected a name of letters"),
        (SPEC.replace('camera = "PG-12"', ""), "exactly one of camera, sources and store; got none"),
        ('reference = "oracle"' + SPEC, "expected 'nlf' or 'gaussian'"),
    ],
)
def test_a_spec_that_is_wrong_is_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "s.toml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        read_spec(tmp_path / "s.toml")
    with pytest.raises(DataError, match="no such file; expected a benchmark spec"):
        read_spec(tmp_path / "gone.toml")


def test_other_data_under_the_same_name_is_refused(workshop: Any, tmp_path: Path) -> None:
    workshop.store(patches=40).close()
    (tmp_path / "s.toml").write_text(
        '[[data]]\nname = "d"\nstore = "patches.h5"\nfingerprint = "' + "0" * 64 + '"\n[[model]]\nname = "nlf"\n',
        encoding="utf-8",
    )
    spec = read_spec(tmp_path / "s.toml")
    assert isinstance(spec, BenchmarkSpec)
    with pytest.raises(DataError, match=r"expected data of fingerprint 0{64}"):
        benchmark(spec, tmp_path / "out")


def test_compare_pairs_reports_of_the_same_patches_only(
    workshop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "page", lambda evaluation, progress: evaluation.headline)
    store = workshop.store()
    for name, factor in (("right", 1.0), ("wide", 1.2)):
        write_report(evaluate({name: workshop.model(factor=factor)}, store), tmp_path / name)
    found = compare(tmp_path / "wide", tmp_path / "right")
    assert found.gain is not None
    # ½ (log 1.2 + 1/1.2 − 1), and rounding's variance.
    assert found.gain.value == pytest.approx(0.5 * (0.18232 + 1 / 1.2 - 1), abs=4 * found.gain.standard_error + 3e-4)
    changed = {change.measure: change for change in found.changes}
    assert changed["variance"].before is not None
    assert changed["variance"].before[0] == "bad"
    words = " ".join(found.words())
    assert "The second, right, is better by" in words
    other = workshop.store(seed=1, name="other.h5")
    write_report(evaluate({"right": workshop.model()}, other), tmp_path / "other")
    result = CliRunner().invoke(main, ["compare", str(tmp_path / "right"), str(tmp_path / "other")])
    assert result.exit_code == 0, result.output
    assert "The data is not the same" in result.output
    assert "better by" not in result.output
    refused = CliRunner().invoke(main, ["compare", str(tmp_path), str(tmp_path / "other")])
    assert refused.exit_code == 1
    assert "expected a report of" in refused.stderr


def test_an_iso_left_out_costs_what_the_two_fits_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "page", lambda evaluation, progress: evaluation.headline)
    text = SPEC.replace("isos = [100]", "isos = [100, 400, 1600]\nleave_out = 400").replace(
        "scenes = 10", "scenes = 20"
    )
    (tmp_path / "spec.toml").write_text(text, encoding="utf-8")
    nlf, gaussian = benchmark(read_spec(tmp_path / "spec.toml"), tmp_path / "out")
    # Read noise is the same at all ISOs and the gain goes with the ISO: in log ISO both are lines.
    assert nlf["iso_left_out"]["iso"] == 400
    assert abs(nlf["iso_left_out"]["nats_per_dim"]["value"]) < 0.01
    for row in (nlf, gaussian):
        assert row["mpix_per_s"] > 0
    assert (nlf["parameters"], gaussian["parameters"]) == (6, 1)
    page = (tmp_path / "out" / "results.md").read_text("utf-8")
    assert "(ISO 400)" in page
    assert "an ISO left out costs, nats/dim" in page
