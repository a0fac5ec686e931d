"""Commands that several processes share say things once; and their number may change when they go on."""

import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from builders import gaussian_store
from test_ranks import ENVIRONMENT, TORCHRUN

from noiseflow.fit import FitSettings, fit, spec_for
from noiseflow.fit.training.state import read_state
from noiseflow.models import ModelSpec, build, load, load_denoiser, save
from noiseflow.patches import PatchStore
from noiseflow.patches.assembly.writer import StoreWriter
from noiseflow.patches.schema import fields

several = pytest.mark.skipif(sys.platform != "linux", reason="tested with gloo on Linux")


def pairs_store(path: Path) -> None:
    rng = np.random.default_rng(0)
    clean = 1000 + rng.uniform(100, 3000, (40, 4, 1, 1)) * np.ones((40, 4, 8, 8))
    with StoreWriter(path, layout="bayer", patch_size=8, pairing="noisy-pair", provenance={}) as writer:
        table = np.zeros(40, fields(4))
        table["camera"] = writer.label("cameras", "One")
        table["iso"], table["black"], table["white"] = 400, 1000, 11_000
        table["source"] = writer.source("made", "0")
        table["scene"] = [writer.label("scenes", f"scene {number % 10}") for number in range(40)]
        table["split"] = np.array((0, 0, 0, 0, 0, 0, 0, 0, 1, 2))[np.arange(40) % 10]
        table["clean_variance"] = 1.0
        first, second = (np.rint(clean + 30 * rng.normal(size=clean.shape)) for _ in range(2))
        writer.append(first, second, table)


@several
def test_two_processes_say_it_once(tmp_path: Path) -> None:
    save(build(ModelSpec("maf", options={"width": 4, "blocks": 1})), tmp_path / "teacher")
    pairs_store(tmp_path / "pairs.h5")
    short = ["--steps", "2", "--batch", "2", "--width", "4"]
    commands = {
        "distil": ["distill", "teacher", "--out", "student", *short],
        "fit": ["fit", "pairs.h5", "--model", "sdn5|unc", "--out", "run", "--epochs", "1", "--batch", "16"],
    }
    with ExitStack() as stack:
        running = {
            title: stack.enter_context(
                subprocess.Popen(
                    [*TORCHRUN, "-m", "noiseflow", *words],
                    cwd=tmp_path,
                    env=ENVIRONMENT,
                    text=True,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            )
            for title, words in commands.items()
        }
        for title, process in running.items():
            said, told = process.communicate(timeout=120)
            assert process.returncode == 0, told
            assert len(said.splitlines()) == 3, said
            # The line at the end of the work, of the one that leads.
            assert sum(line.startswith(f"{title}") and "2/2 steps" in line for line in told.splitlines()) == 1, told
    assert load(tmp_path / "student").spec.model == "iaf"
    assert load(tmp_path / "run").spec.model == "noise_flow"
    load_denoiser(tmp_path / "run")


class Killed(BaseException):
    pass


@several
def test_one_begins_two_go_on_and_one_ends_it(tmp_path: Path) -> None:
    """To rounding, what one process comes to."""
    store = gaussian_store(tmp_path / "s.h5", patches=120, isos=(400.0, 1600.0), correlation=0.7)
    model, settings = "sdn5|unc|gain4|unc", FitSettings(epochs=4, steps_per_epoch=5, batch=15, ema=0.9, state_seconds=0)

    def kill(done: int, total: int, note: str = "") -> None:
        if note.startswith("epoch") and done == 7:
            raise Killed

    whole = fit(store, spec_for(store, model), tmp_path / "whole", settings)
    with pytest.raises(Killed):
        fit(store, spec_for(store, model), tmp_path / "run", settings, progress=kill)
    store.close()
    options = "--epochs 4 --steps-per-epoch 5 --batch 15 --ema 0.9 --state-seconds 0 --resume --out run".split()
    command = [*TORCHRUN, "-m", "noiseflow", "fit", "s.h5", "--model", model, *options]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    state, _ = read_state(tmp_path / "run" / "state")
    assert state.step == 20
    # As if the two had been killed before their last step, and one went on.
    shutil.rmtree(tmp_path / "run" / "state" / "000000020")
    assert read_state(tmp_path / "run" / "state")[0].step == 19
    with PatchStore(tmp_path / "s.h5") as again:
        resumed = fit(again, spec_for(again, model), tmp_path / "run", settings, resume=True)
    assert resumed.best_nll == pytest.approx(whole.best_nll, abs=1e-5)
    assert resumed.best_nll < resumed.start_nll - 0.01
    expected, got = (read_state(tmp_path / name / "state")[0].history for name in ("whole", "run"))
    for name in ("held_out_nll", "train_nll"):
        assert [row[name] for row in got] == pytest.approx([row[name] for row in expected], abs=1e-5, nan_ok=True)
