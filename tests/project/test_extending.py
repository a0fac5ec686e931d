"""A toy of each kind that develop.md names: one file, and at most one line elsewhere, in a copy of the package."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "noiseflow"


@dataclass(frozen=True)
class Toy:
    """A new thing of one kind.

    Parameters
    ----------
    kind : str
        First column of the table in develop.md.
    file : str
        New file in the package.
    text : str
        Its content.
    script : str
        Uses the toy; raises or exits with another status than 0 where it is not there.
    table : str
        File that gets one line; none if empty.
    opening : str
        Pattern of the line after which it goes.
    line : str
        The line.
    """

    kind: str
    file: str
    text: str
    script: str
    table: str = ""
    opening: str = ""
    line: str = ""


PAIRING = Toy(
    "a pairing",
    "patches/pairings/toy.py",
    '''
"""Each frame with a flat clean signal: its own mean."""
import numpy as np
from noiseflow.patches.pairings.pairing import FrameByFrame, FramePair, Pairing, split_by_scene

def pair(scene, number, reference):
    noisy = scene.frames[number].read()
    clean = np.full_like(noisy.planes(), noisy.mosaic.mean(), dtype=np.float32)
    return FramePair(scene.frames[number], number, noisy, clean, 0.0)

TOY = Pairing(
    summary="the mean of the frame", needs="nothing", how=FrameByFrame(pair), split_by=split_by_scene, clean="gt"
)
''',
    """
from noiseflow.cli import main
main(["simulate", "raws", "--camera", "PG-12", "--iso", "400", "--scenes", "3", "--size", "64", "64"],
     standalone_mode=False)
main(["ingest", "raws", "--pairing", "toy", "--patch-size", "8", "--jobs", "1", "--out", "p.h5"], standalone_mode=False)
from noiseflow.patches import PatchStore
with PatchStore("p.h5") as store:
    assert store.pairing == "toy" and len(store) > 0
""",
    "patches/pairings/registry.py",
    r"^PAIRINGS = Registry\[Pairing\]\($\n^    \{$",
    '        "toy": "noiseflow.patches.pairings.toy:TOY",',
)

TRANSFORM = Toy(
    "a transform",
    "flows/linear/toy.py",
    '''
"""z = 2 x."""
import math
import torch
from noiseflow.flows.transform import Transform

class Doubling(Transform):
    def forward(self, x, cond, noise=None):
        return 2 * x, x.new_full((len(x),), math.log(2) * x[0].numel())

    def inverse(self, z, cond, noise=None):
        return z / 2
''',
    """
import torch
from noiseflow.flows import Conditions, Flow
from noiseflow.flows.linear.toy import Doubling
cond = Conditions(clean=torch.zeros(2, 4, 4, 4), iso=100.0, camera="A").resolve(("A",))
flow = Flow([Doubling()])
x = torch.randn(2, 4, 4, 4)
plain = Flow([])
assert torch.allclose(flow.log_prob(x, cond), plain.log_prob(2 * x, cond) + 64 * torch.tensor(2.0).log())
assert flow.sample(cond).shape == x.shape
""",
)

MODEL = Toy(
    "a model",
    "models/closed_form/toy.py",
    '''
"""Gaussian noise of σ = 0.01."""
import torch
from noiseflow.models.model import NoiseModel, register
from noiseflow.ops.random import sampling

@register("toy")
class ToyModel(NoiseModel):
    closed_form = True

    def __init__(self, spec):
        super().__init__(spec)
        self.log_sigma = torch.nn.Parameter(torch.tensor(-4.6))

    def start_from(self, statistics):
        pass

    def _log_prob(self, noise, cond):
        return torch.distributions.Normal(0.0, self.log_sigma.exp()).log_prob(noise).sum((1, 2, 3))

    def _sample(self, cond, generator, temperature):
        noise = torch.randn(cond.clean.shape, generator=generator, dtype=cond.clean.dtype)
        return temperature * self.log_sigma.exp() * noise
''',
    """
from noiseflow.cli import main
main(["simulate", "raws", "--camera", "PG-12", "--iso", "400", "--scenes", "10", "--size", "64", "64"],
     standalone_mode=False)
main(["ingest", "raws", "--patch-size", "8", "--jobs", "1", "--out", "p.h5"], standalone_mode=False)
main(["fit", "p.h5", "--model", "toy", "--out", "run"], standalone_mode=False)
import noiseflow
assert noiseflow.load("run").spec.model == "toy"
""",
    "models/__init__.py",
    r"^from noiseflow\.models\.closed_form import .*$",
    "from noiseflow.models.closed_form import toy as toy",
)

ADAPTER = Toy(
    "an adapter to another library",
    "augment/adapters/toy.py",
    '''
"""A camera's noise as a plain function of arrays."""
import torch
from noiseflow.augment.adapters import noisy_of

def noisy_array(add_noise, array, number):
    return noisy_of(add_noise, torch.from_numpy(array), number).numpy()
''',
    """
import numpy as np
from noiseflow.augment import AddCameraNoise
from noiseflow.augment.adapters.toy import noisy_array
from noiseflow.models import ModelSpec, build
add_noise = AddCameraNoise(build(ModelSpec("gaussian")), iso=100.0)
array = np.full((4, 8, 8), 0.2, np.float32)
noisy = noisy_array(add_noise, array, 3)
assert noisy.shape == array.shape and (noisy != array).any()
assert (noisy == noisy_array(add_noise, array, 3)).all()
""",
)

COMMAND = Toy(
    "a command",
    "cli/toy.py",
    '''
"""``noiseflow toy``."""
import click

@click.command()
@click.argument("word")
def toy(word: str) -> None:
    """Print a word."""
    click.echo(word)
''',
    """
import subprocess, sys
run = [sys.executable, "-m", "noiseflow"]
assert subprocess.run([*run, "toy", "hello"], capture_output=True, text=True, check=True).stdout == "hello\\n"
assert "Print a word." in subprocess.run([*run, "--help"], capture_output=True, text=True, check=True).stdout
""",
    "cli/__init__.py",
    r"^COMMANDS = \{$",
    '    "toy": "toy",',
)

TOYS = (PAIRING, TRANSFORM, MODEL, ADAPTER, COMMAND)


def put(toy: Toy, package: Path) -> None:
    """Add the toy's file and its line."""
    file = package / toy.file
    assert not file.exists()
    file.write_text(toy.text, encoding="utf-8")
    if toy.table:
        table = package / toy.table
        text = table.read_text(encoding="utf-8")
        changed, count = re.subn(toy.opening, lambda match: f"{match[0]}\n{toy.line}", text, flags=re.M)
        assert count == 1, f"{toy.table}: no line that fits {toy.opening}"
        assert "\n" not in toy.line
        table.write_text(changed, encoding="utf-8")


@pytest.fixture(scope="module")
def plain_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package without the toys."""
    root = tmp_path_factory.mktemp("plain")
    shutil.copytree(PACKAGE, root / "noiseflow", ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture(scope="module")
def extended_copy(plain_copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with all toys."""
    root = tmp_path_factory.mktemp("extended")
    shutil.copytree(plain_copy / "noiseflow", root / "noiseflow")
    for toy in TOYS:
        put(toy, root / "noiseflow")
    return root


def use(toy: Toy, root: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the toy's script in a folder, with the package below `root`."""
    script = f"import noiseflow; assert noiseflow.__file__.startswith({str(root)!r}), noiseflow.__file__\n{toy.script}"
    environment = {**os.environ, "PYTHONPATH": str(root)}
    words = [sys.executable, "-W", "ignore", "-c", script]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.kind)
def test_one_file_and_one_line_are_enough(toy: Toy, extended_copy: Path, tmp_path: Path) -> None:
    done = use(toy, extended_copy, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("toy", [PAIRING, COMMAND], ids=lambda toy: toy.kind)
def test_the_script_fails_without_the_toy(toy: Toy, plain_copy: Path, tmp_path: Path) -> None:
    assert use(toy, plain_copy, tmp_path).returncode != 0


def test_develop_md_names_every_kind() -> None:
    page = (PACKAGE.parent / "docs" / "develop.md").read_text(encoding="utf-8")
    for toy in TOYS:
        assert f"| {toy.kind} |" in page
