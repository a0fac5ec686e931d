"""Small valid files of our later formats, and what the commands do with each: beside `tools.readers.own_kinds`."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch

from noiseflow.augment.denoise.files import load_photo_denoiser, save_photo_denoiser
from noiseflow.augment.denoise.network import PhotoDenoiser, PhotoDenoiserSpec
from noiseflow.calibrate.body.body_file import read_body, write_body
from noiseflow.calibrate.body.body_maps import BodyMaps, DarkMap, GainMap
from noiseflow.calibrate.prior.curve import DUAL_ISOS, OBSERVED
from noiseflow.calibrate.prior.few_shot import shipped_prior
from noiseflow.calibrate.prior.posterior import CameraCurve, posterior_of
from noiseflow.calibrate.prior.weights import read_prior, write_prior
from noiseflow.cli.workflows.describe import describe
from noiseflow.cli.workflows.verify import verify_path
from noiseflow.core.output.checks import check_output
from noiseflow.core.output.manifest import MANIFEST, begin, foreign, listing
from noiseflow.core.output.marks import CHECKSUM, checksum_of
from noiseflow.evaluate.benchmark.appended import rows_of_others
from noiseflow.models import ModelSpec, build, load, save, temporal_spec
from noiseflow.models.io.export import export_sampler
from noiseflow.patches import IngestOptions, PatchStore, ingest
from noiseflow.patches.store.shards import export_shards
from noiseflow.simulate import simulate_series
from tools.readers.own_kinds import Made, digest_of_values, is_listed, numbers_of

__all__ = ["NEWER_KINDS"]

PARTS = ("dark_pattern", "response_pattern", "black_drift", "light_flicker", "telegraph")


def temporal(folder: Path) -> Made:
    """The run of a temporal model."""
    spec = ModelSpec("nlf", "mono", ("A", "B"), (100.0, 400.0))
    save(build(temporal_spec(spec, PARTS)), folder / "run")

    def use(box: Path) -> str:
        model = load(box / "run")
        clean = torch.full((1, 3, model.planes, 4, 4), 0.2)
        noise = model.sample_sequence(clean, iso=100.0, source=torch.Generator().manual_seed(0))  # type: ignore[operator]
        return digest_of_values(noise, *numbers_of(model), describe(box / "run"))

    return Made("temporal", folder, ("run/spec.json", "run/model.safetensors", f"run/{MANIFEST}"), use, is_listed)


def photo_denoiser(folder: Path) -> Made:
    """A trained photo denoiser."""
    (folder / "run").mkdir(parents=True)
    begin(folder / "run", "photo denoiser")
    network = PhotoDenoiser(PhotoDenoiserSpec((6, 8, 8), 1, 0)).eval()
    save_photo_denoiser(network, folder / "run", {"data": ["a"], "seconds": 1.5})
    files = tuple(sorted(each.name for each in (folder / "run").iterdir() if each.name != MANIFEST))

    def use(box: Path) -> str:
        ones = torch.ones(1, 4, 1, 1)
        with torch.no_grad():
            found = load_photo_denoiser(box / "run")(torch.full((1, 4, 16, 16), 0.2), 1e-3 * ones, 1e-4 * ones, -ones)
        if not found.isfinite().all():
            raise ArithmeticError("garbage: a picture that is not finite")
        return digest_of_values(found, describe(box / "run"))

    def protected(box: Path) -> bool:
        known = listing(box / "run")
        return known is not None and set(files) <= known.files.keys()

    return Made("photo denoiser", folder, tuple(f"run/{name}" for name in files), use, protected)


def prior(folder: Path) -> Made:
    """The prior over cameras."""
    folder.mkdir(parents=True)
    write_prior(shipped_prior(), folder / "p.safetensors", {"cameras": 3})
    isos = np.array([100.0, 800.0])
    values = np.full((2, len(OBSERVED)), np.nan)
    values[:, 0] = 8.0, 6.0

    def use(box: Path) -> str:
        found = posterior_of(
            CameraCurve("A", isos, values, np.full_like(values, 0.1), "frames"), read_prior(box / "p.safetensors")
        )
        if len(found.weights) != len(DUAL_ISOS) or not np.isfinite(found.means).all():
            raise ArithmeticError("garbage: a posterior that is not finite")
        return digest_of_values(found.means, found.weights)

    return Made("prior", folder, ("p.safetensors",), use)


def body(folder: Path) -> Made:
    """Maps of a body, with two dark maps of a current, a gain map and defects."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    size = (8, 12)

    def plane(sigma: float) -> np.ndarray:
        return rng.normal(0, sigma, size).astype(np.float32)

    darks = tuple(DarkMap(iso, plane(1.0), 0.1, 2.0, 16, (0.1, 1.0), plane(0.2), 0.05) for iso in (100.0, 800.0))
    defects = np.array([[0, 1, 0], [3, 4, 1]], np.int32)
    made = BodyMaps("A B", "RGGB", darks, GainMap(1 + plane(0.01), 1e-3, 20), defects, {"tool": "t"})
    write_body(made, folder / "body.h5")

    def use(box: Path) -> str:
        found = read_body(box / "body.h5")
        described = describe(box / "body.h5")
        maps = [found.dark_at(iso, 0.5) for iso in found.isos]
        rest = found.defect_mask, found.gaps(found.isos[0], 2.0), found.summary(), found.camera, found.cfa
        return digest_of_values(*maps, *([found.gain.gain] if found.gain else []), *rest, described)

    return Made("body", folder, ("body.h5",), use, lambda box: "content_blake3" in h5py.File(box / "body.h5").attrs)


def manifest(folder: Path) -> Made:
    """The list of a run's files, which says what may be replaced."""
    save(build(ModelSpec("nlf", cameras=("A",), isos=(100.0,))), folder / "run")

    def use(box: Path) -> str:
        others = foreign(box / "run")
        if listing(box / "run") is not None:
            check_output(box / "run", folder=True, overwrite=True)
        return digest_of_values(others, verify_path(box / "run"), *numbers_of(load(box / "run")))

    return Made("manifest", folder, (f"run/{MANIFEST}",), use)


def results(folder: Path) -> Made:
    """A benchmark's results, whose rows another one takes."""
    folder.mkdir(parents=True)
    interval = {"value": 0.5, "standard_error": 0.1, "low": 0.3, "high": 0.7, "groups": 5}
    names = ("nats_per_dim", "nats_per_pixel_dn", "nats_per_pixel_codes", "better_than_reference", "behind_oracle")
    row = dict.fromkeys((*names, "kl", "variance_ratio", "two_sample"), interval) | {
        "data": "a",
        "model": "m",
        "fingerprint": "0" * 64,
        "samples_sha256": "1" * 64,
        "patches": 40,
        "groups": "scenes",
        "codes_kind": None,
        "kl_floor": 0.01,
        "faults": ["tails"],
        "parameters": 100,
        "fit_s": 1.5,
        "mpix_per_s": 2.5,
    }
    content = {"rows": [row, {**row, "model": "n"}], "split": "test", "title": "t", "noiseflow": "1", "seed": 1}
    (folder / "results.json").write_text(json.dumps(content, indent=1))
    return Made(
        "results",
        folder,
        ("results.json",),
        lambda box: digest_of_values(
            [{**row, "from": ""} for row in rows_of_others(box / "results.json", {"a": "0" * 64}, "test")]
        ),
    )


def shards(folder: Path) -> Made:
    """WebDataset shards, which only other programs read; here they are verified and replaced."""
    folder.mkdir(parents=True)
    simulate_series(folder / "series", "PG-12", [400.0], size=(32, 48))
    ingest([folder / "series" / "burst"], folder / "p.h5", IngestOptions(patch_size=8), jobs=1)
    (folder / "only").mkdir()
    with PatchStore(folder / "p.h5") as opened:
        export_shards(opened, folder / "only" / "shards", per_shard=8)
    files = tuple(f"shards/{each.name}" for each in sorted((folder / "only" / "shards").iterdir()))

    def use(box: Path) -> str:
        check_output(box / "shards", folder=True, overwrite=True)
        return digest_of_values(foreign(box / "shards"), verify_path(box / "shards"))

    return Made("shards", folder / "only", files, use, lambda box: listing(box / "shards") is not None)


def graph(folder: Path) -> Made:
    """An ONNX graph, of which we read the mark alone: whether it may be replaced."""
    folder.mkdir(parents=True)
    model = build(ModelSpec("nlf", cameras=("A",), isos=(100.0,)))
    for suffix in (".onnx", ".pt2"):
        export_sampler(model, folder / f"a{suffix}")

    def use(box: Path) -> str:
        return digest_of_values(*[str(check_output(box / name, overwrite=True).name) for name in ("a.onnx", "a.pt2")])

    return Made("graph", folder, ("a.onnx", "a.pt2"), use)


def replaced(folder: Path) -> Made:
    """Files with a mark of ours in them, which ``--overwrite`` may replace."""
    folder.mkdir(parents=True)
    entries = {"schema": "noiseflow camera profile 1", "made_by": "noiseflow", "a": 1, "b": [0.5]}
    (folder / "a.json").write_text(json.dumps({**entries, CHECKSUM: checksum_of(entries)}))

    def use(box: Path) -> str:
        return digest_of_values(check_output(box / "a.json", overwrite=True).name)

    return Made("replaced", folder, ("a.json",), use)


NEWER_KINDS: dict[str, Callable[[Path], Made]] = {
    "temporal": temporal,
    "photo denoiser": photo_denoiser,
    "prior": prior,
    "body": body,
    "manifest": manifest,
    "results": results,
    "shards": shards,
    "graph": graph,
    "replaced": replaced,
}
"""Kinds of files of our own by name."""
