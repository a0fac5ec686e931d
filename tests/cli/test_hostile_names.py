"""Names with escape sequences, markup, formulas and marks that reverse text, in all that commands print and write."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from builders import burst_folder, frame, noisy_mosaic
from click.testing import CliRunner

import noiseflow
from noiseflow.cli import main
from noiseflow.cli.table import print_table
from noiseflow.models import ModelSpec, build, save
from noiseflow.patches import PatchStore
from noiseflow.raw import read_raw
from noiseflow.raw.formats.dng import write_dng
from noiseflow.simulate import simulate_series

NAME = "=1+[red]<b>$_$\x1b[31m\u202e\u200f"
"""Of every file and folder that is read or written."""

COMMANDS = {
    "simulate": "simulate OUT --camera PG-12 --iso 100 --scenes 1 --size 32 48",
    "ingest": "ingest IN/raws --patch-size 8 --out OUT.h5",
    "calibrate": "calibrate IN/series/flats IN/series/darks --out OUT.json --report OUT.html --maps OUT.h5",
    "fit": "fit IN/p.h5 --model nlf --out OUT",
    "sample": "sample IN/run IN/raws/NAME.dng --iso 400 --out OUT.dng --preview OUT.png",
    "denoise": "denoise IN/raws/NAME.dng --model IN/run --out OUT.dng",
    "transfer": "transfer IN/raws/NAME.dng --from sony-a7s2 --to pg-12 --out OUT.dng",
    "synthesize": "synthesize IN/raws --run IN/odd --isos 400 --jobs 1 --out OUT",
    "evaluate": "evaluate IN/run IN/p.h5 --max-patches 8 --out OUT",
    "clean-patches": "clean-patches IN/p.h5 --out OUT",
    "export-shards": "export IN/p.h5 OUT",
    "benchmark": "benchmark IN/spec.toml --out OUT",
    "info-run": "info IN/odd",
    "info": "info --verify IN/run",
    "info-json": "info --json IN/raws/NAME.dng",
    "info-store": "info --verify IN/p.h5",
    "no such": "info IN/NAME",
    "usage": "info IN/run IN/NAME",
}


def invisible(text: str) -> list[str]:
    """Characters that a terminal or an editor obeys rather than shows."""
    return sorted({ascii(each) for each in text if unicodedata.category(each)[0] == "C" and each != "\n"})


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    inputs = folder / NAME
    inputs.mkdir()
    burst_folder(inputs / "raws", frames=3, size=(32, 32), seed=0)
    for path in (inputs / "raws").glob("*.dng"):
        path.unlink()
    rng = np.random.default_rng(0)
    signal_dn = np.full((32, 32), 300.0)
    for number in ("", "1", "2"):
        image = frame(noisy_mosaic(signal_dn, rng), make="", model=NAME)
        write_dng(inputs / "raws" / f"{NAME}{number}.dng", image)
    simulate_series(inputs / "series", "PG-12", [400.0], size=(64, 96))
    known = read_raw(inputs / "raws" / f"{NAME}.dng").camera
    for name, camera in (("run", known), ("odd", NAME)):
        save(build(ModelSpec("nlf", cameras=(camera,), isos=(400.0, 1600.0))), inputs / name)
    made = CliRunner().invoke(
        main, ["ingest", str(inputs / "raws"), "--patch-size", "8", "--out", str(inputs / "p.h5")]
    )
    assert made.exit_code == 0, made.output
    spec = {"data": [{"name": NAME, "store": "p.h5"}], "model": [{"name": "nlf"}]}
    lines = [
        f"[[{kind}]]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in each.items()) for kind, (each,) in spec.items()
    ]
    (inputs / "spec.toml").write_text("".join(lines), encoding="utf-8")
    return folder


def words_of(command: str) -> list[str]:
    given = {"OUT": f"out {NAME}", "IN": NAME, "NAME": NAME}
    return [re.sub("OUT|IN|NAME", lambda found: given[found[0]], word) for word in command.split()]


@pytest.mark.parametrize("name", COMMANDS)
def test_all_that_is_printed_and_written_can_be_seen(
    work: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / NAME).symlink_to(work / NAME)
    monkeypatch.chdir(tmp_path)
    for again in (False, True):
        result = CliRunner().invoke(main, words_of(COMMANDS[name]), color=True)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert again or result.exit_code == 0 or name in ("no such", "usage", "benchmark"), result.output
        assert not invisible(result.output), result.output
    for path in tmp_path.rglob("*"):
        if path.suffix == ".dng":
            assert not invisible(read_raw(path).camera)
        if "tfevents" in path.name:
            # TensorBoard's tags are ours.
            assert b"$_$" not in path.read_bytes()
        if path.is_file() and path.suffix in (".html", ".csv", ".json", ".jsonl", ".md"):
            text = path.read_text("utf-8")
            assert not invisible(text), (path.name, invisible(text))
            if path.suffix == ".html":
                assert "<b>$_$" not in text
            if path.suffix == ".csv":
                cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
                assert not [cell for cell in cells if cell.startswith("=")], path.name


def test_a_table_shows_the_names_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    rows: Mapping[str, Mapping[str, str]] = {f"measure {NAME}": {NAME: "1", "[/b]": f"{NAME}"}}
    print_table("measure", [NAME, "[/b]"], rows)
    said = capsys.readouterr().out
    assert not invisible(said)
    assert said.count("[red]<b>$_$") == 3
    assert "[/b]" in said


def test_what_python_shows_of_an_object_can_be_seen(work: Path) -> None:
    model = build(ModelSpec("nlf", cameras=(NAME,), isos=(400.0,)))
    with PatchStore(work / NAME / "p.h5") as store:
        assert NAME not in repr(store)
        assert not invisible(repr(store))
    assert not invisible(repr(model))
    assert "<b>" not in model._repr_html_().replace("<b>Noise model nlf</b>", "")


def test_the_command_that_goes_on_can_be_seen_and_pasted(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = os.fsdecode(b"a'b\\" + b"\n\xe9") + NAME
    words = ["ingest", str(work / NAME / "raws"), "--patch-size", "8", "--out", str(tmp_path / f"{odd}.h5")]
    place = "noiseflow.patches.ingestion.ingestion.layout_of_all"
    monkeypatch.setattr(place, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = CliRunner().invoke(main, words)
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.exit_code == 130, result.output
    said = result.stderr.strip().splitlines()[-1]
    assert not invisible(said)
    command = said.partition("continue with: noiseflow ")[2]
    pasted = subprocess.run(["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True)
    assert [os.fsdecode(word) for word in pasted.stdout.split(b"\0")[:-1]] == words


ALLOWED = {
    r"click\.echo\(|[^.\w]print\(": {"cli/streams.py"},
    r"ensure_ascii=False": {"core/text.py", "core/reading/text.py", "core/output/marks.py"},
    r"^from html import|^import html": {"core/text.py"},
}
"""What shows text → the one place for it; a checksum and a check of what is read are not shown."""


@pytest.mark.parametrize("pattern", ALLOWED)
def test_text_is_shown_by_one_function_for_each_place(pattern: str) -> None:
    root = Path(noiseflow.__file__).parent
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if any(re.search(pattern, line) and ">>>" not in line for line in path.read_text("utf-8").splitlines())
    }
    assert found <= ALLOWED[pattern]
