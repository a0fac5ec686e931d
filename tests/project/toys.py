"""Toys of each kind that develop.md names, as text: a file, a line of a table, and a script that uses them."""

from dataclasses import dataclass


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
    extra : tuple of str
        Another new file and its content: the C++ of a kernel.
    """

    kind: str
    file: str
    text: str
    script: str
    table: str = ""
    opening: str = ""
    line: str = ""
    extra: tuple[str, ...] = ()


RAW_FORMAT = Toy(
    "a raw format",
    "raw/formats/toy.py",
    '''
"""Toy files: one code on each line, two columns."""
import numpy as np
from noiseflow.raw.image import RawImage
SUFFIXES = frozenset((".toy",))

def read(path, settings):
    codes = np.loadtxt(path, dtype=np.uint16).reshape(-1, 2)
    return RawImage(mosaic=codes, cfa="RGGB", black=(0.0,) * 4, white=1023.0, source=str(path))
''',
    """
from pathlib import Path
Path("a.toy").write_text("\\n".join(map(str, range(8))))
from noiseflow.cli import main
main(["info", "a.toy"], standalone_mode=False)
import noiseflow
assert noiseflow.read_raw("a.toy").mosaic.shape == (4, 2)
""",
    "raw/reading.py",
    r"^READERS: .* = \($",
    '    Reader.in_module("toy files", "toy"),',
)

DATA_SET = Toy(
    "a data set",
    "patches/sources/toy.py",
    '''
"""A folder with a file toy.txt: every frame is a scene of its own."""
from noiseflow.patches.sources.scene import Collection, Scene, file_frame
from noiseflow.raw.reading import raw_files

def recognises(path):
    return (path / "toy.txt").is_file()

def gather(path, settings):
    files = sorted(path.glob("*.dng"))
    return Collection(tuple(Scene(file.stem, (file_frame(file, settings),)) for file in files))
''',
    """
from pathlib import Path
from noiseflow.simulate import simulate
simulate("raws", "PG-12", [400.0], scenes=2, size=(32, 32))
Path("raws/toy.txt").write_text("")
from noiseflow.patches import collect
from noiseflow.cli.workflows.describe import describe
assert describe("raws")["kind"] == "toy data set"
assert len(collect("raws").scenes) == 4
""",
    "patches/sources/__init__.py",
    r"^SOURCES: .* = \($",
    '    Source.in_module("toy data set", "toy"),',
)

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

FAST_TRANSFORM = Toy(
    "a fast transform",
    "flows/linear/toy_fast.py",
    '''
"""z = 3 x, by a kernel in C++ where one serves."""
import math
import torch
from noiseflow.flows.transform import Transform
from noiseflow.ops.native import Operation, Source, contiguous

SOURCE = Source(("toy",), {"triple": "const float *x[B, C, H, W], float *z[B, C, H, W], long count=B * C * H * W"})

def _triple(x):
    return 3 * x

def _by_kernel(kernels, x):
    (x,) = contiguous(x)
    z = torch.empty_like(x)
    kernels("triple", x=x, z=z)
    return z

triple = Operation(_triple, _by_kernel, SOURCE, lambda x: {}, differentiable=False)

class Tripling(Transform):
    def forward(self, x, cond, noise=None):
        return triple(x), x.new_full((len(x),), math.log(3) * x[0].numel())

    def inverse(self, z, cond, noise=None):
        return z / 3
''',
    """
import torch
from noiseflow.flows import Conditions
from noiseflow.flows.linear.toy_fast import Tripling, triple
from noiseflow.ops.libraries.build import available
from noiseflow.ops.native import OPERATIONS, compiled
assert OPERATIONS["triple"] is triple
x = torch.randn(2, 4, 4, 4)
cond = Conditions(clean=torch.zeros_like(x), iso=100.0, camera="A").resolve(("A",))
with torch.no_grad(), compiled():
    assert (triple.kernels(x) is not None) == available()
    assert torch.equal(Tripling()(x, cond)[0], 3 * x)
""",
    extra=(
        "ops/csrc/toy.cpp",
        """
// z = 3 x.
#include "simd.h"

KERNEL(triple, const float *x, float *z, long count) {
    for (long at = 0; at < count; ++at) z[at] = 3 * x[at];
}
""",
    ),
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

METRIC = Toy(
    "a metric",
    "evaluate/metrics/toy.py",
    '''
"""The number of patches that each model was scored on."""
from collections.abc import Mapping
from dataclasses import dataclass
from noiseflow.evaluate.metric import Metric, Score

@dataclass(frozen=True)
class Count(Score):
    scored_patches: Mapping[str, int]

class CountMetric(Metric):
    def __init__(self, setup):
        self.models, self.patches = setup.models, 0

    def update(self, batch):
        self.patches += len(batch.number)

    def score(self):
        return Count(dict.fromkeys(self.models, self.patches))
''',
    """
from noiseflow.cli import main
main(["simulate", "raws", "--camera", "PG-12", "--iso", "400", "--scenes", "10", "--size", "64", "64"],
     standalone_mode=False)
main(["ingest", "raws", "--patch-size", "8", "--jobs", "1", "--out", "p.h5"], standalone_mode=False)
main(["fit", "p.h5", "--model", "nlf", "--out", "run"], standalone_mode=False)
main(["evaluate", "run", "p.h5", "--out", "report"], standalone_mode=False)
import json
from pathlib import Path
content = json.loads(Path("report/metrics.json").read_text())
assert content["scores"]["toy"]["scored_patches"]["nlf"] == content["data"]["patches"]
assert "Scored patches" in Path("report/index.html").read_text()
""",
    "evaluate/metrics/registry.py",
    r"^METRICS = Registry.*\($\n^    \{$",
    '        "toy": "noiseflow.evaluate.metrics.toy:CountMetric",',
)

ADAPTER = Toy(
    "an adapter to another library",
    "augment/adapters/toy.py",
    '''
"""A camera's noise as a plain function of arrays."""
import torch
from noiseflow.augment.adapters import noisy_batch

def noisy_array(add_noise, array, number):
    return noisy_batch(add_noise, torch.from_numpy(array), number).noisy.numpy()
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

OUTPUT_FORMAT = Toy(
    "an output format",
    "augment/frames/toy.py",
    '''
"""Text: one row of the mosaic on each line."""
import numpy as np

def write_as_text(path, frame):
    np.savetxt(path, frame.image.mosaic, fmt="%d")
''',
    """
from noiseflow.cli import main
main(["simulate", "raws", "--camera", "PG-12", "--iso", "400", "--scenes", "1", "--size", "32", "48"],
     standalone_mode=False)
from pathlib import Path
clean = next(Path("raws").glob("*CLEAN.dng"))
main(["sample", "PG-12", str(clean), "--out", "noisy.toy"], standalone_mode=False)
assert len(Path("noisy.toy").read_text().splitlines()) == 32
""",
    "augment/frames/write.py",
    r"^WRITERS = Registry.*\($\n^    \{$",
    '        ".toy": "noiseflow.augment.frames.toy:write_as_text",',
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

TOYS = (
    RAW_FORMAT,
    DATA_SET,
    PAIRING,
    TRANSFORM,
    FAST_TRANSFORM,
    MODEL,
    METRIC,
    ADAPTER,
    OUTPUT_FORMAT,
    COMMAND,
)
