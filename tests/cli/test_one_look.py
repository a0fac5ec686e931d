"""What a user sees: tables and progress of any width, help, suggestions, and names of all that we write."""

import importlib
import io
import json
import re
import subprocess
import sys
import time
import warnings
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from builders import gaussian_store
from click.testing import CliRunner, Result
from rich.console import Console

from noiseflow.calibrate import write_profile
from noiseflow.calibrate.profiles.published import shipped_profile
from noiseflow.cli import COMMANDS, choices, main
from noiseflow.cli.choices import Registered, names_in_source
from noiseflow.cli.progress import facts_that_fit, shown
from noiseflow.cli.streams import answer
from noiseflow.cli.table import print_table
from noiseflow.models import ModelSpec, build, save
from noiseflow.patches import PAIRINGS, ingest
from noiseflow.raw import read_raw
from noiseflow.simulate import simulate

MODELS = ("physics_flow", "nlf", "gaussian", "oracle")
ROWS = {
    "NLL [nats/dim]": dict.fromkeys(MODELS, "-4.4773 ± 0.0101"),
    "better than nlf by, paired over scenes [nats/dim]": dict.fromkeys(MODELS[::2], "0.0025 (0.0002 to 0.0117)"),
    "variance, sampled / real": dict.fromkeys(MODELS, "1.001 (0.987 to 1.012)"),
}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def printed(width: int | None) -> list[str]:
    """The table above on a terminal of some width, or in a file."""
    console = Console(file=io.StringIO(), width=width, force_terminal=width is not None, color_system=None)
    print_table("measure", MODELS, ROWS, console)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(("width", "shown"), [(40, 1), (80, 2), (100, 3), (160, 4), (None, 4)])
def test_a_table_fits_any_width_with_whole_numbers_and_the_tested_model(width: int | None, shown: int) -> None:
    lines = printed(width)
    assert width is None or max(map(len, lines)) <= width
    assert lines[0].split() == ["measure", *MODELS[:shown]]
    text = "\n".join(lines)
    assert "…" not in text
    for cell in ("-4.4773 ± 0.0101", "1.001 (0.987 to 1.012)"):
        assert text.count(cell) == shown
    if shown < len(MODELS):
        assert " ".join(text.split()).endswith(
            f"Not shown, because the terminal is too narrow: {', '.join(MODELS[shown:])}."
        )


@pytest.mark.parametrize("room", [20, 40, 60, 80])
def test_facts_beside_a_bar_are_whole_and_the_count_stays(room: int) -> None:
    facts = facts_that_fit(30, 120, "steps", 10.0, "NLL -4.4512", room)
    assert len(facts) <= room
    assert facts.startswith("30/120 steps")
    assert set(facts.split(" · ")) <= {"30/120 steps", "3/s", "0:00:10", "ETA 0:00:30", "NLL -4.4512"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [80, 100, 160])
@pytest.mark.parametrize("name", ["Sony A7S2", None])
def test_lines_of_an_answer_break_between_numbers(
    columns: int, name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    found = {}
    for kind in (Terminal, io.StringIO):
        monkeypatch.setattr(sys, "stdout", kind())
        main(["profiles", *([name] if name else [])], standalone_mode=False)
        found[kind] = sys.stdout.getvalue()
        monkeypatch.undo()
        monkeypatch.setenv("COLUMNS", str(columns))
    lines = found[Terminal].splitlines()
    assert max(map(len, lines)) <= columns
    assert not [line for line in lines if re.search(r"_dn$|_e$|_shape$", line)]
    assert found[Terminal].split() == found[io.StringIO].split()
    assert (len(lines) > len(found[io.StringIO].splitlines())) == (columns < 150)


def test_json_on_a_terminal_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys, "stdout", Terminal())
    main(["profiles", "Sony A7S2", "--json"], standalone_mode=False)
    found = json.loads(sys.stdout.getvalue())
    monkeypatch.undo()
    assert "Sony A7S2" in found


def test_an_interval_stays_whole_at_the_end_of_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in range(40, 60):
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys, "stdout", Terminal())
        answer("verdict:    a denoiser trained on them loses −0.003 ± 0.035 dB (0.0002 to 0.0117), 5 % of all.")
        printed = sys.stdout.getvalue()
        monkeypatch.undo()
        assert "−0.003 ± 0.035" in printed
        assert "(0.0002 to 0.0117)," in printed
        assert "5 %" in printed
        assert "\n            " in printed


@pytest.mark.parametrize("columns", [80, 100])
def test_what_info_says_breaks_between_facts(
    columns: int, tmp_path: Path, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate(tmp_path / "all", "PG-12", [100.0, 400.0, 1600.0], scenes=2, size=(64, 96))
    ingest([tmp_path / "all"], tmp_path / "patches.h5")
    monkeypatch.setenv("COLUMNS", str(columns))
    for path, said in ((tmp_path / "patches.h5", "1600 (2 frames); Photo"), (clean, "ISO: 400")):
        monkeypatch.setattr(sys, "stdout", Terminal())
        main(["info", str(path)], standalone_mode=False)
        printed = sys.stdout.getvalue()
        monkeypatch.undo()
        monkeypatch.setenv("COLUMNS", str(columns))
        assert said in " ".join(printed.split())
        assert printed.count("PhotographicSensitivity") == 1
        assert not re.search(r"\d\n *(?:\(|frames)|[SO]\n|(\d{2,}), \1,", printed)


def test_a_line_of_a_log_keeps_its_note(capsys: pytest.CaptureFixture[str]) -> None:
    note = "epoch 1, 169 patches/s, held-out NLL -3.9155 nats/dim (start -3.9155, gaussian -2.8462, nlf -3.9145)"
    with shown("fit", "steps") as progress:
        progress(14, 14, note)
    assert note in capsys.readouterr().err


def test_a_rate_counts_from_the_start_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "160")
    with shown("fit", "steps") as progress:
        time.sleep(0.2)
        progress(256, 1728)
    rates = re.findall(r"([\d.e+]+)/s", sys.stderr.getvalue())
    assert rates
    # 256 in 0.2 s or more: not the 10⁷ that the time since the bar was drawn gives.
    assert all(rate.isdigit() and 0 < int(rate) <= 1280 for rate in rates)


def test_summaries_are_whole_sentences_at_80_columns() -> None:
    listing = run("--help").output.partition("Commands:")[2]
    entries = re.split(r"\n  (?=\w)", listing)[1:]
    assert [entry.split()[0] for entry in entries] == list(COMMANDS)
    assert all(entry.rstrip().endswith(".") and not entry.rstrip().endswith("..") for entry in entries)


def test_the_nearest_name_is_suggested() -> None:
    assert "Did you mean evaluate?" in run("evalute").output
    # Older releases of click do not quote it.
    assert "Did you mean --overwrite" in run("demo", "x", "--overwite").output.replace("'", "")
    assert "Did you mean burst?" in run("ingest", "raws", "--out", "p.h5", "--pairing", "bust").output


def test_choices_are_those_of_the_registry() -> None:
    names = Registered("noiseflow.patches.pairings.registry:PAIRINGS", "auto").names
    assert names == ("auto", *PAIRINGS)
    assert f"[{'|'.join(names)}]" in "".join(run("ingest", "--help").output.split())


def test_choices_read_from_the_source_are_those_of_the_tables() -> None:
    found = 0
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        assert command is not None
        for kind in (each.type for each in command.params if isinstance(each.type, Registered)):
            module, table, *keys = kind.table.split(":")
            imported = getattr(importlib.import_module(module), table)
            assert names_in_source(module, table, *keys) == tuple(imported[keys[0]] if keys else imported), kind.table
            found += 1
    assert found > 8


@pytest.mark.parametrize(
    "source", ["T = dict(a=1)", "T = {**U}", "T = [a, 'b']", "T = ('a',)\nT = ('b',)", "T", "(", ""]
)
def test_a_table_that_is_no_plain_one_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    (tmp_path / "noiseflow" / "cli").mkdir(parents=True)
    (tmp_path / "noiseflow" / "tables.py").write_text(source)
    monkeypatch.setattr(choices, "__file__", str(tmp_path / "noiseflow" / "cli" / "choices.py"))
    assert names_in_source("noiseflow.tables", "T") is None
    assert names_in_source("noiseflow.missing", "T") is None


WATCHED = """
import atexit, sys
from noiseflow.cli import main
atexit.register(lambda: print("torch" in sys.modules))
main()
"""


def torch_loaded(*arguments: object) -> bool:
    """Whether a command loads torch, which takes seconds and 200 MB."""
    words = [sys.executable, "-c", WATCHED, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.splitlines()[-1] == "True"


@pytest.mark.parametrize("name", ["ingest", "fit", "evaluate", "synthesize", "import"])
def test_help_loads_no_torch(name: str) -> None:
    """These list the names of tables, whose modules load it."""
    assert not torch_loaded(name, "--help")


def test_what_needs_no_torch_does_not_load_it(tmp_path: Path) -> None:
    np.save(tmp_path / "plain.npy", np.zeros((8, 8), np.uint16))
    write_profile(shipped_profile("PG-12"), tmp_path / "camera.json")
    assert not torch_loaded("info", tmp_path / "nothing.dng")
    assert not torch_loaded("info", tmp_path / "camera.json")
    assert not torch_loaded("sample", "run", tmp_path / "plain.npy", "--out", tmp_path / "noisy.dng")
    assert not torch_loaded("denoise", "run", tmp_path / "plain.npy", "--out", tmp_path / "noisy.dng")


def test_a_file_that_needs_flags_names_them(tmp_path: Path) -> None:
    np.save(tmp_path / "plain.npy", np.zeros((8, 8), np.uint16))
    result = run("sample", "run", tmp_path / "plain.npy", "--out", tmp_path / "noisy.dng")
    assert result.exit_code == 1
    assert "--cfa" in result.stderr
    assert "--white" in result.stderr


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    manifest = simulate(tmp_path / "raws", "PG-12", [400.0], scenes=1, size=(32, 48))
    return tmp_path / "raws" / str(manifest["scenes"][0]["clean"])


def test_a_profile_and_a_shipped_camera_are_models(tmp_path: Path, clean: Path) -> None:
    assert run("profiles", "PG-12", "--out", tmp_path / "camera.json").exit_code == 0
    described = json.loads(run("info", tmp_path / "camera.json", "--json").output)
    assert described["kind"] == "camera profile"
    assert described["camera"] == "PG-12"
    assert "gain_dn_per_e" in described["ISO 400"]
    assert json.loads(run("info", "PG-12", "--json").output) == described
    for number, name in enumerate((tmp_path / "camera.json", "PG-12")):
        out = tmp_path / f"noisy_{number}.dng"
        result = run("sample", name, clean, "--out", out)
        assert result.exit_code == 0, result.output
    one, other = (read_raw(tmp_path / f"noisy_{number}.dng").mosaic for number in range(2))
    assert np.array_equal(one, other)
    assert not np.array_equal(one, read_raw(clean).mosaic)
    unknown = run("sample", "PG-13", clean, "--out", tmp_path / "x.dng")
    assert unknown.exit_code == 1
    assert "or shipped camera" in unknown.stderr


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of each kind, and what commands do with one."""
    folder = tmp_path_factory.mktemp("models")
    write_profile(shipped_profile("PG-12"), folder / "camera.json")
    save(build(ModelSpec("nlf", "bayer", ("Simulated PG-12",), (400.0,))), folder / "run")
    manifest = simulate(folder / "burst", "PG-12", [400.0], scenes=2, size=(64, 96))
    (folder / "clean.dng").write_bytes((folder / "burst" / str(manifest["scenes"][0]["clean"])).read_bytes())
    ingest([folder / "burst"], folder / "patches.h5")
    return folder


MODEL_COMMANDS = {
    "info": ("MODEL",),
    "sample": ("MODEL", "clean.dng", "--out", "OUT.dng"),
    "evaluate": ("MODEL", "patches.h5", "--out", "OUT", "--max-patches", "8"),
    "synthesize": ("clean.dng", "--run", "MODEL", "--isos", "400", "--out", "OUT"),
    "denoise": ("MODEL", "clean.dng", "--out", "OUT.dng"),
    "export": ("MODEL", "OUT.pt2"),
}
"""The commands that take a model."""

KINDS_OF_MODEL = [(command, name) for command in MODEL_COMMANDS for name in ("run", "camera.json", "PG-12")]
# The next test but one scores a run.
KINDS_OF_MODEL.remove(("evaluate", "run"))


@pytest.mark.parametrize(("command", "name"), KINDS_OF_MODEL)
def test_a_command_takes_a_run_a_profile_and_a_shipped_camera(
    models: Path, command: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(models)
    out = f"{command}_of_{name}"
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = run(command, *(each.replace("MODEL", name).replace("OUT", out) for each in MODEL_COMMANDS[command]))
    assert result.exit_code == 0, result.output
    said = " ".join(result.stderr.split())
    if command == "evaluate":
        scored = json.loads((models / out / "metrics.json").read_text("utf-8"))["models"]
        assert scored[0] == "poisson_gaussian"
        # The store's camera is "Simulated PG-12", and that of the profile "PG-12".
        assert "warning: patches.h5: is from Simulated PG-12, but the profile's camera is PG-12" in said
    elif command == "export":
        assert (f"{name}: the graph has Gaussian noise of the profile's variance" in said) == (name != "run")


def test_a_physics_model_is_not_fitted(tmp_path: Path) -> None:
    gaussian_store(tmp_path / "patches.h5", 40)
    result = run("fit", tmp_path / "patches.h5", "--model", "eld", "--out", tmp_path / "run")
    assert result.exit_code == 1
    assert "profile" in result.stderr
    assert "KeyError" not in result.stderr


def test_a_report_is_described_and_printed_as_json(tmp_path: Path) -> None:
    gaussian_store(tmp_path / "patches.h5", 200)
    save(build(ModelSpec("nlf", "bayer", ("One",), (400.0,))), tmp_path / "run")
    result = run("evaluate", tmp_path / "run", tmp_path / "patches.h5", "--out", tmp_path / "report", "--json")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    assert content["models"][0] == "nlf"
    described = json.loads(run("info", tmp_path / "report", "--json").output)
    assert described["kind"] == "report"
    assert described["verdict"] == content["headline"]
    for part in ("raws", "run"):
        (tmp_path / part).mkdir(exist_ok=True)
    assert json.loads(run("info", tmp_path, "--json").output)["kind"] == "folder of noiseflow demo"
    both = run("compare", tmp_path / "report", tmp_path / "report")
    assert both.exit_code == 0, both.output
    assert "nats_per" not in both.output


def test_quiet_shows_no_progress(tmp_path: Path) -> None:
    arguments = ("--camera", "PG-12", "--iso", 400, "--scenes", 1, "--size", 32, 48)
    assert "simulate: 1/1 frames" in run("simulate", tmp_path / "loud", *arguments).stderr
    assert run("simulate", tmp_path / "quiet", *arguments, "--quiet").stderr == ""


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "run", "patches.h5", "--out", "out"),
        ("denoise", "run", "clean.dng", "--out", "out.dng"),
        ("fit", "patches.h5", "--out", "out"),
        ("sample", "run", "clean.dng", "--out", "out.dng"),
        ("synthesize", "clean.dng", "--run", "run", "--out", "out"),
        ("benchmark", "spec.toml", "--out", "out"),
        ("demo", "out"),
    ],
)
def test_a_missing_gpu_is_one_line(
    words: tuple[str, ...], tmp_path: Path, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    gaussian_store(Path("patches.h5"), 40)
    clean.rename("clean.dng")
    Path("spec.toml").write_text('[[data]]\nname = "one"\nstore = "patches.h5"\n[[model]]\nname = "nlf"\n')
    save(build(ModelSpec("nlf", "bayer", ("One",), (400.0,))), "run")
    result = run(*words, "--device", "cuda")
    assert result.exit_code == 1
    assert "finds no GPU" in result.stderr
    assert not Path("out").exists()
    assert not Path("out.dng").exists()


def test_every_command_that_runs_a_model_takes_a_device() -> None:
    takes = {name for name in COMMANDS if "--device" in run(name, "--help").output}
    assert takes == {
        "demo",
        "fit",
        "distill",
        "sample",
        "denoise",
        "train-denoiser",
        "synthesize",
        "evaluate",
        "benchmark",
    }
