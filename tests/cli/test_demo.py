import re
import subprocess
from pathlib import Path

import pytest
from browser import CHROMIUM

from noiseflow.cli.workflows.demo import demo
from noiseflow.core.errors import NoiseflowError
from noiseflow.raw import read_raw


def printed_pages(page: Path, out: Path) -> int:
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", f"--print-to-pdf={out}")
    assert CHROMIUM is not None
    subprocess.run([CHROMIUM, *options, page.as_uri()], check=True, capture_output=True, timeout=60)
    return len(re.findall(rb"/Type\s*/Page\b", out.read_bytes()))


def test_the_whole_path_small(tmp_path: Path) -> None:
    result = demo(tmp_path / "demo", scenes=10, size=(64, 128), epochs=1)
    assert result.evaluation.models[0] == "physics_flow"
    assert set(result.evaluation.models) == {"physics_flow", "nlf", "gaussian", "oracle"}
    page = (result.report / "index.html").read_text(encoding="utf-8")
    assert "physics_flow" in page
    assert "http" + "://" not in page.replace("http://www.w3.org/", "")
    assert read_raw(result.sample).camera == "Simulated PG-12"
    assert CHROMIUM is None or printed_pages(result.report / "index.html", tmp_path / "report.pdf") < 8
    with pytest.raises(NoiseflowError, match="pass --overwrite"):
        demo(tmp_path / "demo")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "raws").mkdir()
    (tmp_path / "mine" / "raws" / "photo.dng").write_text("keep me")
    with pytest.raises(NoiseflowError, match="has no list of files written by noiseflow"):
        demo(tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "raws" / "photo.dng").exists()
