from pathlib import Path

import pytest

from noiseflow.cli.workflows.demo import demo
from noiseflow.core.errors import NoiseflowError
from noiseflow.raw import read_raw


def test_the_whole_path_small(tmp_path: Path) -> None:
    result = demo(tmp_path / "demo", scenes=10, size=(64, 128), epochs=1)
    assert result.evaluation.models[0] == "physics_flow"
    assert set(result.evaluation.models) == {"physics_flow", "nlf", "gaussian", "oracle"}
    page = (result.report / "index.html").read_text(encoding="utf-8")
    assert "physics_flow" in page
    assert "http" + "://" not in page.replace("http://www.w3.org/", "")
    assert read_raw(result.sample).camera == "Simulated PG-12"
    with pytest.raises(NoiseflowError, match="pass --overwrite"):
        demo(tmp_path / "demo")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "raws").mkdir()
    (tmp_path / "mine" / "raws" / "photo.dng").write_text("keep me")
    with pytest.raises(NoiseflowError, match="has no list of files written by noiseflow"):
        demo(tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "raws" / "photo.dng").exists()
