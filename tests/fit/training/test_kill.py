"""kill -9 at random moments: what comes of it is the fit that nobody killed, bit for bit."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import gaussian_store

from noiseflow.fit.training.state import TrainState, read_state
from noiseflow.models import load

NURSERY = Path(__file__).with_name("killed_fit.py")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def sittings(store: Path, out: Path, plan: list[dict[str, float]]) -> list[str]:
    """How each sitting of a plan ended."""
    done = subprocess.run(
        [sys.executable, str(NURSERY), str(store), str(out), json.dumps(plan)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def plan_of(kills: int, rng: np.random.Generator) -> list[dict[str, float]]:
    """Kills at random: half some milliseconds after a step, half at a file operation; at last none.

    Half of the operations are of the first state and history: from the second on something stands unfinished.
    """
    plan: list[dict[str, float]] = []
    for number in range(kills):
        if number % 4 == 1:
            plan.append({"operation": int(rng.integers(1, 60))})
        elif number % 4 == 3:
            plan.append({"writing": int(rng.integers(2, 9))})
        else:
            plan.append({"steps": 1, "delay": float(rng.uniform(0, 0.01))})
    return [*plan, {}]


def timeless(state: TrainState) -> str:
    """All of a state but the time it took; in words, since NaN is not NaN."""
    told: dict[str, Any] = {**vars(state), "seconds": 0, "history": [{**row, "seconds": 0} for row in state.history]}
    return str(told)


def test_twenty_kills_at_random_moments_leave_no_trace(tmp_path: Path) -> None:
    store = tmp_path / "s.h5"
    gaussian_store(store, patches=120, isos=(400.0, 1600.0), correlation=0.7).close()
    assert sittings(store, tmp_path / "whole", [{}]) == ["done"]
    ends = sittings(store, tmp_path / "run", plan_of(20, np.random.default_rng(6)))
    assert ends[-1] == "done"
    assert all(end.startswith("killed") for end in ends[:-1]), ends
    assert "killed while writing" in ends
    (expected, whole), (got, run) = (read_state(tmp_path / name / "state") for name in ("whole", "run"))
    assert timeless(got) == timeless(expected)
    for group in ("model", "best", "average", "optimiser", "sums"):
        assert whole[group].keys() == run[group].keys()
        assert all(torch.equal(whole[group][name], run[group][name]) for name in whole[group]), group
    a, b = (load(tmp_path / name).state_dict() for name in ("whole", "run"))
    assert all(torch.equal(a[name], b[name]) for name in a)
