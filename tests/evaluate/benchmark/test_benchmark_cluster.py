"""A benchmark on a real Dask cluster, one worker of which is killed half-way."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from noiseflow.core.errors import NoiseflowError
from noiseflow.evaluate.benchmark.run_benchmark import benchmark
from noiseflow.evaluate.benchmark.spec import read_spec
from tests.evaluate.benchmark.test_benchmark import SPEC as SMALL

distributed = pytest.importorskip("distributed", reason="needs the extra [cluster]")

SPEC = (
    SMALL.replace("scenes = 10", "scenes = 6")
    + """
[[model]]
name = "nlf again"
model = "nlf"
"""
)


# The killed worker leaves sockets and files behind, which the cluster warns of.
@pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.slow
def test_a_killed_worker_s_cell_is_run_by_another(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(SPEC, encoding="utf-8")
    spec, out = read_spec(tmp_path / "spec.toml"), tmp_path / "out"
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        # It has made the data; cells are under way when it dies.
        pids = [worker.pid for worker in cluster.workers.values()]
        killed: list[int] = []

        def kill_one() -> None:
            for _ in range(6000):
                if list((out / "cells" / "PG-12").glob("*")):
                    os.kill(pids[0], signal.SIGKILL)
                    killed.append(pids[0])
                    return
                time.sleep(0.01)

        killer = threading.Thread(target=kill_one)
        killer.start()
        rows = benchmark(spec, out, scheduler=cluster.scheduler_address)
        killer.join()
    assert killed, "no worker was killed while the benchmark ran"
    assert [row["model"] for row in rows] == ["nlf", "gaussian", "nlf again"]
    assert not [row for row in rows if "error" in row]
    assert rows[0]["nats_per_dim"] == rows[2]["nats_per_dim"]
    # Here, what the cluster has finished is not run again.
    assert benchmark(spec, out) == rows


def test_an_address_at_which_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noiseflow.patches.ingestion.executors.SECONDS_TO_ANSWER", 1.0)
    (tmp_path / "spec.toml").write_text(SPEC, encoding="utf-8")
    with pytest.raises(NoiseflowError, match="no Dask scheduler answers"):
        benchmark(read_spec(tmp_path / "spec.toml"), tmp_path / "out", scheduler="tcp://127.0.0.1:9")
