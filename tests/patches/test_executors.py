import multiprocessing
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

AHEAD = """
    import sys
    from multiprocessing import forkserver
    from pathlib import Path
    from noiseflow.patches import executors

    def main(large, small):
        started = lambda: getattr(forkserver._forkserver, "_forkserver_pid", None) is not None
        executors.start_ahead([small, Path("absent")])
        executors.start_ahead([large], 1)
        assert not started(), "a process was started for little"
        assert "numpy" not in sys.modules, "nothing that takes time may be imported before it is started"
        executors.start_ahead([small], 2) if sys.argv[3] == "jobs" else executors.start_ahead([large])
        assert started() == (sys.argv[3] == "jobs" or executors.processors() > 1)
        with executors.executor(2) as pool:
            assert pool.submit(len, "abc").result() == 3

    if __name__ == "__main__":
        main(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="needs a fork server")
@pytest.mark.parametrize("why", ["jobs", "size"])
def test_the_process_that_others_are_copied_from_is_started_ahead_for_much(tmp_path: Path, why: str) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "large" / "scene").mkdir(parents=True)
    (tmp_path / "small" / "a.dng").write_bytes(b"little")
    with (tmp_path / "large" / "scene" / "a.dng").open("wb") as file:
        file.truncate(1 << 26)
    script = tmp_path / "ahead.py"
    script.write_text(textwrap.dedent(AHEAD))
    command = [sys.executable, script, tmp_path / "large", tmp_path / "small", why]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
