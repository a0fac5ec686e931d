"""The same ingest on a real Dask cluster, one worker of which is killed half-way."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from builders import burst_folder

from noiseflow.core.errors import NoiseflowError
from noiseflow.patches import IngestOptions, ingest

distributed = pytest.importorskip("distributed", reason="needs the extra [cluster]")


# The killed worker leaves sockets and files behind, which the cluster warns of.
@pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_a_killed_worker_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    for number in range(6):
        burst_folder(tmp_path / "raws" / str(number), frames=6, size=(128, 192), seed=number)
    options = IngestOptions(patch_size=8)
    here = ingest([tmp_path / "raws"], tmp_path / "here.h5", options, jobs=1)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        pids = [worker.pid for worker in cluster.workers.values()]
        killed: list[int] = []
        folder = tmp_path / "there.h5.partial"

        def kill_one() -> None:
            for _ in range(3000):
                if len(list(folder.glob("part-*.json"))) >= 3:
                    os.kill(pids[0], signal.SIGKILL)
                    killed.append(pids[0])
                    return
                time.sleep(0.01)

        killer = threading.Thread(target=kill_one)
        killer.start()
        there = ingest([tmp_path / "raws"], tmp_path / "there.h5", options, scheduler=cluster.scheduler_address)
        killer.join()
    assert killed, "no worker was killed while the ingest ran"
    assert there.frames == here.frames == 36
    assert (tmp_path / "there.h5").read_bytes() == (tmp_path / "here.h5").read_bytes()


def test_an_address_at_which_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noiseflow.patches.ingestion.executors.SECONDS_TO_ANSWER", 1.0)
    burst_folder(tmp_path / "raws", frames=2, size=(64, 64), seed=0)
    with pytest.raises(NoiseflowError, match="no Dask scheduler answers"):
        ingest([tmp_path / "raws"], tmp_path / "s.h5", IngestOptions(patch_size=8), scheduler="tcp://127.0.0.1:9")
