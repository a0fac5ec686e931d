"""Small valid files of our own formats, and what the commands do with each.

To fuzz another format, write a function and give it a line in `KINDS`.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from noiseflow.calibrate import read_profile, write_profile
from noiseflow.calibrate.kinds.tables import read_tables
from noiseflow.calibrate.profiles.published import shipped_names, shipped_profile
from noiseflow.cli.workflows.describe import describe
from noiseflow.core.output.manifest import MANIFEST, listing
from noiseflow.evaluate import evaluate, write_report
from noiseflow.evaluate.benchmark.cell import BenchmarkCell
from noiseflow.evaluate.benchmark.spec import read_spec
from noiseflow.evaluate.report.compare_reports import compare
from noiseflow.flows.conditions import Conditions
from noiseflow.models import Denoiser, ModelSpec, build, from_profile, import_published, load, load_denoiser, save
from noiseflow.models.denoiser import DenoiserSpec, save_denoiser
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.patches.sources import collect
from noiseflow.raw import read_raw
from noiseflow.simulate import simulate_series

__all__ = ["KINDS", "Made", "digest_of_values", "is_listed", "numbers_of"]

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data" / "published" / "noise_flow_weights.npz"


@dataclass(frozen=True)
class Made:
    """A folder with valid files.

    Parameters
    ----------
    name : str
        Name of the format.
    folder : Path
        Where they are.
    files : tuple of str
        Those that are mutated.
    use : callable
        What commands do with the folder; a digest of all numbers that come of it.
    protected : callable
        Whether a mutated folder still has the checksums that must find other numbers.
    """

    name: str
    folder: Path
    files: tuple[str, ...]
    use: Callable[[Path], str]
    protected: Callable[[Path], bool] = lambda _: False


def digest_of_values(*values: Any) -> str:
    """SHA-256 of numbers, tensors and texts."""
    digest = hashlib.sha256()
    for value in values:
        if isinstance(value, torch.Tensor):
            value = value.detach().numpy()
        digest.update(np.ascontiguousarray(value).tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return digest.hexdigest()


def numbers_of(model: Any) -> list[Any]:
    """A sample, which must be of camera size, and its density."""
    iso, camera = model.iso_range[0], model.cameras[0]
    clean = torch.full((2, model.planes, 4, 4), 0.2)
    cond = Conditions(clean=clean, iso=iso, camera=camera)
    noise = model.sample(cond, generator=torch.Generator().manual_seed(0))
    if not noise.isfinite().all() or float(noise.square().mean()) > 1e4:
        raise ArithmeticError("garbage: noise that no camera has")
    density = model.log_prob(noise, cond) if hasattr(model, "_log_prob") else noise
    if not density.isfinite().all():
        raise ArithmeticError("garbage: a density that is not finite")
    return [noise, density, model.spec.to_json()]


def _use_run(box: Path) -> str:
    described = describe(box / "run")
    return digest_of_values(*numbers_of(load(box / "run")), described)


def is_listed(box: Path) -> bool:
    """Whether the folder ``run`` still has the SHA-256 of its spec and weights."""
    known = listing(box / "run")
    return known is not None and {"spec.json", "model.safetensors"} <= known.files.keys()


def run(folder: Path) -> Made:
    """A run with its list."""
    save(build(ModelSpec("realnvp", cameras=("A", "B"), isos=(100.0, 400.0), options={"width": 8})), folder / "run")
    files = ("run/spec.json", "run/model.safetensors", f"run/{MANIFEST}")
    return Made("run", folder, files, _use_run, is_listed)


def old_run(folder: Path) -> Made:
    """A run of an earlier version, without checksums."""
    made = run(folder)
    (folder / "run" / MANIFEST).unlink()
    return Made("old run", folder, made.files[:2], _use_run)


def denoiser(folder: Path) -> Made:
    """A denoiser of a run."""
    save_denoiser(Denoiser(DenoiserSpec(width=4, depth=2)), folder / "run")

    def use(box: Path) -> str:
        with torch.no_grad():
            return digest_of_values(load_denoiser(box / "run")(torch.full((1, 4, 8, 8), 0.2), 100.0))

    def protected(box: Path) -> bool:
        known = listing(box / "run")
        return known is not None and {"denoiser/spec.json", "denoiser/denoiser.safetensors"} <= known.files.keys()

    return Made("denoiser", folder, ("run/denoiser/spec.json", "run/denoiser/denoiser.safetensors"), use, protected)


def store(folder: Path) -> Made:
    """A patch store of a burst."""
    folder.mkdir(parents=True)
    simulate_series(folder / "series", "PG-12", [400.0], size=(32, 48))
    ingest([folder / "series" / "burst"], folder / "p.h5", IngestOptions(patch_size=8), jobs=1)
    (folder / "only").mkdir()
    (folder / "p.h5").rename(folder / "only" / "p.h5")

    def use(box: Path) -> str:
        described = describe(box / "p.h5")
        with PatchStore(box / "p.h5") as opened:
            opened.verify()
            batch = opened.read(np.arange(len(opened)))
            facts = opened.cameras, opened.scenes, opened.fingerprint, opened.scene_facts, opened.provenance
            return digest_of_values(
                *opened.codes(np.arange(len(opened))), batch.noise, opened.table.tobytes(), facts, described
            )

    def protected(box: Path) -> bool:
        with h5py.File(box / "p.h5", "r") as file:
            return int(file.attrs["schema"]) >= 6

    return Made("store", folder / "only", ("p.h5",), use, protected)


def profile(folder: Path) -> Made:
    """A profile of a shipped camera."""
    folder.mkdir(parents=True)
    write_profile(shipped_profile(shipped_names()[0]), folder / "camera.json")

    def use(box: Path) -> str:
        read = read_profile(box / "camera.json")
        described = describe(box / "camera.json")
        return digest_of_values(read.to_json(), described, *numbers_of(from_profile("poisson_gaussian", read)))

    return Made(
        "profile", folder, ("camera.json",), use, lambda box: '"sha256"' in (box / "camera.json").read_text("utf-8")
    )


def old_profile(folder: Path) -> Made:
    """A profile of an earlier version, without a checksum."""
    made = profile(folder)
    content = json.loads((folder / "camera.json").read_text("utf-8"))
    del content["sha256"]
    (folder / "camera.json").write_text(json.dumps(content, indent=1))
    return Made("old profile", folder, made.files, made.use)


def published(folder: Path) -> Made:
    """The published weights, which lie beside the checkout."""
    folder.mkdir(parents=True)
    (folder / "w.npz").write_bytes(PUBLISHED.read_bytes())
    return Made(
        "published", folder, ("w.npz",), lambda box: digest_of_values(*numbers_of(import_published(box / "w.npz")))
    )


def benchmark(folder: Path) -> Made:
    """A benchmark's spec, all of whose settings are built."""
    folder.mkdir(parents=True)
    (folder / "spec.toml").write_text(
        'title = "t"\nseed = 1\nsplit = "test"\nmax_patches = 40\nreference = "nlf"\n[[data]]\nname = "a"\n'
        'camera = "PG-12"\nisos = [100, 400]\nscenes = 2\nframes = 1\nsize = [32, 48]\nleave_out = 400\n'
        "[data.ingest]\npatch_size = 8\n"
        '[[model]]\nname = "nlf"\n[[model]]\nname = "b"\nmodel = "realnvp"\n[model.fit]\nepochs = 1\n'
        "learning_rate = 0.1\n"
        "[model.options]\nwidth = 4\n"
    )

    def use(box: Path) -> str:
        from noiseflow.core.errors import DataError
        from noiseflow.core.reading.schema import built
        from noiseflow.fit import FitSettings
        from noiseflow.models.io.weights import building

        spec = read_spec(box / "spec.toml")
        for data in spec.data:
            built(IngestOptions, {"seed": spec.seed, **data.ingest}, "ingest", DataError)
        for choice in spec.models:
            built(FitSettings, {"seed": spec.seed, **choice.fit}, "fit", DataError)
            cell = BenchmarkCell(
                box, box, "", "a", choice, box, spec.seed, spec.split, spec.max_patches, spec.reference
            )
            assert cell.key
            with building(box / "spec.toml"):
                build(ModelSpec(choice.model or choice.name, options=choice.options))
        return digest_of_values(repr(spec))

    return Made("benchmark", folder, ("spec.toml",), use)


def metrics(folder: Path) -> Made:
    """A report, described and compared with itself."""
    folder.mkdir(parents=True)
    simulate_series(folder / "series", "PG-12", [400.0], size=(32, 48))
    ingest([folder / "series" / "burst"], folder / "p.h5", IngestOptions(patch_size=8), jobs=1)
    with PatchStore(folder / "p.h5") as opened:
        model = build(ModelSpec("nlf", cameras=opened.cameras, isos=opened.isos))
        write_report(evaluate({"nlf": model}, opened, max_patches=8), folder / "report")
    (folder / "only").mkdir()
    (folder / "report").rename(folder / "only" / "report")
    (folder / "only" / "report" / MANIFEST).unlink()

    def use(box: Path) -> str:
        report = box / "report"
        compared = compare(report, report)
        return digest_of_values(compared.words(), compared.numbers, describe(report))

    return Made("metrics", folder / "only", ("report/metrics.json",), use)


def side_car(folder: Path) -> Made:
    """A headerless raw file with its side-car."""
    folder.mkdir(parents=True)
    np.arange(32 * 24, dtype="<u2").tofile(folder / "a.raw")
    (folder / "a.toml").write_text(
        'cfa = "RGGB"\nblack = [64, 64, 65, 64]\nwhite = 1023\nsize = [24, 32]\ndtype = "<u2"\ncrop = [0, 0, 8, 8]\n'
        'iso = 100\nexposure_s = 0.1\ncamera = "A B"\nheader_bytes = 0\n'
    )
    return Made("side-car", folder, ("a.toml",), lambda box: digest_of_values(read_raw(box / "a.raw").mosaic))


def table(folder: Path) -> Made:
    """A photon-transfer table."""
    from noiseflow.calibrate.kinds.tables import calibrate_tables

    folder.mkdir(parents=True)
    rows = [
        f"{iso};{t};{m};{(4 + 0.4 * m) ** 0.5}" for iso in (100, 200) for t, m in ((0.01, 50), (0.02, 400), (0.04, 900))
    ]
    (folder / "a.csv").write_text("\n".join(rows) + "\n")
    return Made(
        "table",
        folder,
        ("a.csv",),
        lambda box: digest_of_values(calibrate_tables(read_tables([box / "a.csv"]), "A").profile.to_json()),
    )


def emva(folder: Path) -> Made:
    """An EMVA listing."""
    from PIL import Image

    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 4000, (32, 24)).astype(np.uint16)
    Image.fromarray(pixels).save(folder / "e.png")
    (folder / "EMVA1288_Data.txt").write_text(
        "n 12 24 32\nb 1000,5 9.0\ni e.png\nb 2000.0 18.0\ni e.png\nd 1000.0\ni e.png\n"
    )

    def use(box: Path) -> str:
        found = [scene.frames[0].read() for scene in collect(box).scenes]
        return digest_of_values(*[each.mosaic for each in found], [each.black for each in found])

    return Made("emva", folder, ("EMVA1288_Data.txt",), use)


def hdf5(folder: Path) -> Made:
    """A mosaic in HDF5, compressed, with texts."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 1024, (32, 24)).astype(np.uint16)
    with h5py.File(folder / "a.h5", "w") as file:
        data = file.create_dataset("mosaic", data=pixels, chunks=(8, 8), compression="gzip")
        data.attrs.update({"cfa": "RGGB", "black": [64.0], "white": 1023.0, "iso": 100.0, "make": "A", "model": "B"})
        file.create_dataset("note", data="text")
        file.create_group("group")["x"] = np.zeros(3)

    def use(box: Path) -> str:
        described = describe(box / "a.h5")
        return digest_of_values(read_raw(box / "a.h5").mosaic, described)

    return Made("hdf5", folder, ("a.h5",), use)


def state(folder: Path) -> Made:
    """The state of a training."""
    from noiseflow.fit.training.state import TrainState, read_state, write_state

    tensors = {"model": {"w": torch.arange(6.0)}, "best": {"w": torch.arange(6.0)}}
    row = {"step": 1, "train_nll": 0.5, "held_out_nll": 0.4, "epoch": 1}
    write_state(folder / "run" / "state", TrainState(3, 1, 1, 0.4, 2.0, [row], {"data": "x", "seed": 1}), tensors)
    name = "run/state/000000003"

    def use(box: Path) -> str:
        found, read = read_state(box / "run" / "state")
        return digest_of_values(
            json.dumps(found.__dict__), *[value for each in read.values() for value in each.values()]
        )

    def protected(box: Path) -> bool:
        return listing(box / "run") is not None

    return Made("state", folder, (f"{name}/state.json", f"{name}/tensors.safetensors"), use, protected)


KINDS: dict[str, Callable[[Path], Made]] = {
    "run": run,
    "old run": old_run,
    "denoiser": denoiser,
    "state": state,
    "store": store,
    "profile": profile,
    "old profile": old_profile,
    "published": published,
    "benchmark": benchmark,
    "metrics": metrics,
    "side-car": side_car,
    "table": table,
    "emva": emva,
    "hdf5": hdf5,
}
"""Kinds of files of our own by name."""
