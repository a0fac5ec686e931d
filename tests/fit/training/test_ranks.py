"""Several processes train as one does, and go on when one of them dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from builders import gaussian_store
from click.testing import CliRunner
from safetensors.torch import load_file
from shared_work import MODELS, gradient, trained_point

from noiseflow.cli import main
from noiseflow.core.errors import ModelError
from noiseflow.fit.training import ranks
from noiseflow.fit.training.objective import StepPosition
from noiseflow.fit.training.ranks import ALONE, joined
from noiseflow.fit.training.state import read_state
from noiseflow.models import load
from noiseflow.patches import PatchStore

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

several = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "s.h5"
    gaussian_store(path, patches=120, isos=(400.0, 1600.0), cameras=("One", "Two"), correlation=0.7).close()
    return path


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_shares_are_the_batch(count: int, world: int) -> None:
    positions = [StepPosition(0, 0, 0, rank, world) for rank in range(world)]
    assert sum(position.weight(count) for position in positions) == pytest.approx(1)
    taken = [number for position in positions for number in range(count)[position.share(count)]]
    assert taken == list(range(count)) * (1 if count >= world else world)
    assert min(len(range(count)[position.share(count)]) for position in positions) > 0


def test_a_process_of_its_own_is_alone() -> None:
    with joined() as ranks:
        assert ranks == ALONE
    with pytest.raises(ModelError, match="told"):
        ALONE.first(lambda: (_ for _ in ()).throw(ModelError("told")))


@pytest.fixture(scope="module")
def of_two(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes made together."""
    out = tmp_path_factory.mktemp("two")
    command = [*TORCHRUN, str(Path(__file__).parents[1] / "shared_work.py"), str(store), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    return out


@several
@pytest.mark.parametrize("model", MODELS)
def test_two_processes_have_the_gradient_of_one(store: Path, of_two: Path, model: str) -> None:
    """To rounding in float64, of 7 and 8 patches."""
    one, two = gradient(PatchStore(store), model, ALONE), load_file(of_two / model)
    assert one.keys() == two.keys()
    assert sum(name.startswith("gradient") for name in one) > 5
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-9, atol=1e-12)


@several
def test_what_is_not_finite_on_one_of_two_is_skipped_by_both(of_two: Path, tmp_path: Path) -> None:
    state, tensors = read_state(of_two / "state")
    assert [row["skipped"] for row in state.history] == [0, 1, 2, 0, 0]
    point = trained_point(tmp_path, ALONE)
    torch.testing.assert_close(tensors["best"]["point"], point.point.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(tensors["best"]["seen"], point.seen, rtol=1e-5, atol=1e-6)


def process_of(rank: int, parent: int) -> int | None:
    """The process that torchrun has started for a rank."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
            told = (path / "environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if int(fields[1]) == parent and b"RANK=%d" % rank in told:
            return int(path.name)
    return None


def wait_for(what: Callable[[], object], seconds: float = 90.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


def started(stack: ExitStack, command: list[str]) -> subprocess.Popen[bytes]:
    """A process that does not outlive the block; torchrun takes its own along."""
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    stack.enter_context(process)
    stack.callback(process.terminate)
    return process


@several
def test_one_of_two_is_killed_and_they_go_on(store: Path, tmp_path: Path) -> None:
    """Bit for bit the fit of two that nobody killed, and to rounding the fit of one."""
    options = "--epochs 10 --steps-per-epoch 5 --batch 15 --patience 99 --ema 0.9 --model sdn5|unc|gain4|unc".split()
    fit = ["-m", "noiseflow", "fit", str(store), *options]
    elastic = [*TORCHRUN, "--max-restarts", "1", "--monitor-interval", "0.1"]
    out = {name: tmp_path / name for name in ("killed", "whole", "alone")}
    with ExitStack() as stack:
        running = {
            name: started(stack, [*start, *fit, "--out", str(out[name]), *more])
            for name, start, more in (
                ("killed", elastic, ["--state-seconds", "0"]),
                ("whole", TORCHRUN, []),
            )
        }
        alone = CliRunner().invoke(main, [*fit[2:], "--out", str(out["alone"])])
        assert alone.exit_code == 0, alone.output
        victim = running["killed"]
        wait_for(lambda: max((int(path.name) for path in out["killed"].glob("state/0*")), default=0) >= 12)
        killed = process_of(1, victim.pid)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: process_of(1, victim.pid) not in (killed, None))
        for name, process in running.items():
            told = process.communicate(timeout=120)[1].decode()
            assert process.returncode == 0, (name, told)
    (state, tensors), (expected, whole) = (read_state(out[name] / "state") for name in ("killed", "whole"))
    assert state.step == expected.step == 50
    for group in ("model", "best", "average", "optimiser", "sums"):
        assert all(torch.equal(tensors[group][name], value) for name, value in whole[group].items()), group
    a, b = (load(out[name]).state_dict() for name in ("killed", "whole"))
    assert all(torch.equal(a[name], b[name]) for name in a)
    figures = [row["held_out_nll"] for row in state.history]
    assert figures == [row["held_out_nll"] for row in expected.history]
    of_one = [row["held_out_nll"] for row in read_state(out["alone"] / "state")[0].history]
    assert figures == pytest.approx(of_one, abs=1e-4)
    assert of_one[-1] < of_one[0] - 0.01


@pytest.mark.parametrize(
    ("version", "waits"), [("2.4.0", True), ("2.7.1+cpu", True), ("2.8.0", False), ("2.15.0", False)]
)
def test_the_threads_of_a_group_free_their_tensors_before_it_goes(
    version: str, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With PyTorch 2.4 every second command of two processes hung at its end on a busy machine."""
    said: list[object] = []

    class Group:
        def __del__(self) -> None:
            said.append("gone")

    held = SimpleNamespace(WORLD=Group())

    def destroyed() -> None:
        del held.WORLD
        said.append("destroyed")

    monkeypatch.setattr(ranks.dist, "group", held)
    monkeypatch.setattr(ranks.dist, "destroy_process_group", destroyed)
    monkeypatch.setattr(ranks.time, "sleep", said.append)
    monkeypatch.setattr(ranks.torch, "__version__", version)
    ranks._leave()
    assert said == ["destroyed", *([ranks.FREED_S] if waits else []), "gone"]
