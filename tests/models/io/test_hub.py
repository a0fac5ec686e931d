"""Models on a hub: published to a server of the test's own, and fetched from it and from the cache."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from hub_server import Hub, serving

import noiseflow
from noiseflow.cli import main
from noiseflow.core.errors import ModelError
from noiseflow.models import ModelSpec, build, save

huggingface_hub = pytest.importorskip("huggingface_hub", reason="the extra [hub] is not installed")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    with serving() as (handler, address):
        yield from _asked(handler, address, tmp_path, monkeypatch)


def _asked(handler: type[Hub], address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    plain = {name: getattr(huggingface_hub, name) for name in ("HfApi", "hf_hub_download")}
    for name, function in plain.items():
        more = {"endpoint": address, "token": "hf_test"}
        if name == "hf_hub_download":
            more["cache_dir"] = str(tmp_path / "cache")

        def with_ours(*given: Any, _function: Any = function, _more: Any = more, **named: Any) -> Any:
            return _function(*given, **_more, **named)

        monkeypatch.setattr(huggingface_hub, name, with_ours)
    yield handler


@pytest.fixture
def run(tmp_path: Path) -> Path:
    save(build(ModelSpec("nlf", cameras=("A | B",), isos=(100.0, 400.0))), tmp_path / "run")
    fit = {"data": "f" * 64, "held_out_nll_nats_per_dim": -4.5, "tool": "noiseflow"}
    (tmp_path / "run" / "fit.json").write_text(json.dumps(fit))
    report = {
        "headline": "run is better.",
        "findings": [{"text": "by 0.1\n# not a heading"}],
        "data": {"patches": 1000, "split": "test", "groups": 3},
    }
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "metrics.json").write_text(json.dumps(report))
    return tmp_path / "run"


def test_what_is_pushed_is_loaded_at_its_commit_and_from_the_cache(
    hub: type[Hub], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = CliRunner().invoke(main, ["push", str(run), "user/camera", "--report", str(run.parent / "report")])
    assert done.exit_code == 0, done.output
    address = done.output.strip()
    assert address == f"hf://user/camera@{hub.newest}"
    files = hub.commits[hub.newest]
    assert set(files) == {"README.md", "noise.png", "spec.json", "model.safetensors"}
    card = files["README.md"].decode()
    assert card.startswith("---\nlicense: apache-2.0\n")
    for expected in (r"A \| B", "100 to 400", "-4.5000 nats/dim", "run is better.", "1,000 patches"):
        assert expected in card
    assert "\n# not a heading" not in card

    fetched, ours = noiseflow.load(address), noiseflow.load(run)
    assert all(torch.equal(a, b) for a, b in zip(fetched.parameters(), ours.parameters(), strict=True))
    monkeypatch.setattr(hub, "do_GET", lambda self: self.answer(status=500))
    monkeypatch.setattr(hub, "do_HEAD", lambda self: self.answer(status=500))
    assert noiseflow.load(Path(address)).cameras == ours.cameras


def test_a_planted_file_is_never_fetched_and_a_damaged_one_is_refused(hub: type[Hub], run: Path) -> None:
    good = {name: (run / name).read_bytes() for name in ("spec.json", "model.safetensors")}
    hub.commits["a" * 40] = {**good, "model.pkl": b"evil", "setup.py": b"evil"}
    noiseflow.load(f"hf://user/camera@{'a' * 40}")
    assert not [path for path in run.parent.rglob("*") if path.name in ("model.pkl", "setup.py")]
    hub.commits["b" * 40] = {**good, "model.safetensors": good["model.safetensors"][:40]}
    with pytest.raises(ModelError, match="damaged"):
        noiseflow.load(f"hf://user/camera@{'b' * 40}")


@pytest.mark.parametrize("name", ["hf://user/camera@none", "hf://nobody/camera", "hf://user", "hf://user/camera@a b"])
def test_what_is_not_there_is_one_line(hub: type[Hub], name: str) -> None:
    with pytest.raises(ModelError, match="hf:"):
        noiseflow.load(name)


def test_bad_names_are_refused_before_anything_is_sent(hub: type[Hub], run: Path) -> None:
    from noiseflow.models.io.hub import push

    for repo, licence, found in (("camera", "mit", "user/name"), ("user/camera", "mit\nx: y", "licence")):
        with pytest.raises(ModelError, match=found):
            push(run, repo, licence=licence)
    assert not hub.commits
