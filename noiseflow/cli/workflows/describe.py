"""Short descriptions of the files and folders that noiseflow reads or writes, for ``noiseflow info``.

To describe another kind of file, write a function and add a line to `KINDS`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import starmap
from pathlib import Path

from noiseflow.augment.denoise.names import is_photo_denoiser
from noiseflow.core.errors import NoiseflowError
from noiseflow.core.output.checks import PARTIAL
from noiseflow.patches.sources import SOURCES, collect
from noiseflow.raw.reading import frame_count, is_raw, read_frame
from noiseflow.raw.settings import RawSettings
from noiseflow.simulate.cameras import camera_named

__all__ = ["KINDS", "describe"]

# Models and stores need torch, which takes seconds to import: it is imported only where it is used.

Description = dict[str, str]

DEMO = ("raws", "patches.h5", "run", "report")
"""Names by which a folder of ``noiseflow demo`` is recognised."""


def describe(path: str | Path, settings: RawSettings | None = None) -> Description:
    """Describe a file or folder that noiseflow reads or writes, or a shipped camera.

    Parameters
    ----------
    path : path
        File, folder, or name of a camera in `noiseflow profiles`.
    settings : RawSettings, optional
        Settings that override the metadata of raw files.

    Returns
    -------
    dict of str
        Label → text, in display order.

    Raises
    ------
    NoiseflowError
        `path` does not exist, cannot be read, or is of an unknown kind.
    """
    path = Path(path)
    if not path.exists() and camera_named(str(path)) is None:
        raise NoiseflowError(f"{path}: no such file or folder")
    for recognises, described in KINDS:
        if recognises(path):
            return described(path, settings)
    raise NoiseflowError(
        f"{path}: not a file or folder that noiseflow knows; expected a raw file, a folder of them, a patch store, "
        "a run folder, a camera profile, a report or a demo"
    )


def _run(path: Path, settings: RawSettings | None) -> Description:
    from noiseflow.models.denoiser import DENOISER, load_denoiser
    from noiseflow.models.flow.physics_flow import FOUND
    from noiseflow.models.io.run_folder import load

    model = load(path)
    low, high = model.iso_range
    options = {name: model.spec.options.get(name) for name in FOUND}
    named = ", ".join(name if value is True else f"{name} ({value})" for name, value in options.items() if value)
    components = {"components": named} if named else {}
    denoiser = {}
    if (path / DENOISER).is_dir():
        weights = load_denoiser(path).parameters()
        denoiser = {"denoiser": f"{sum(each.numel() for each in weights):,} parameters"}
    return {
        "kind": "run folder",
        "model": model.spec.model,
        "parameters": f"{sum(parameter.numel() for parameter in model.parameters()):,}",
        "planes": f"{model.planes} ({model.spec.layout})",
        "cameras": ", ".join(model.cameras),
        "ISO": f"{low:g} to {high:g}",
        "density": model.spec.unit,
        "fitted to": "integer codes (density before rounding)"
        if model.spec.before_rounding
        else "density of the noise",
        **components,
        **denoiser,
    }


def _photo_denoiser(path: Path, settings: RawSettings | None) -> Description:
    from noiseflow.augment.denoise.files import load_photo_denoiser

    denoiser = load_photo_denoiser(path)
    return {
        "kind": "photo denoiser",
        "parameters": f"{sum(each.numel() for each in denoiser.parameters()):,}",
        "planes": "4 (bayer)",
        "cameras": "any; noiseflow denoise finds the noise level of each file",
    }


def _store(path: Path, settings: RawSettings | None) -> Description:
    from noiseflow.patches.store.store import PatchStore
    from noiseflow.patches.store.summary import summary

    with PatchStore(path) as store:
        believed: dict[str, dict[str, list[str]]] = {}
        for fact, value, source in store.believed:
            believed.setdefault(fact, {}).setdefault(source, []).append(value)
        return {
            "kind": "patch store",
            **summary(store),
            **{fact: "; ".join(starmap(_from, sources.items())) for fact, sources in believed.items()},
        }


def _from(source: str, values: Sequence[str]) -> str:
    """Return the values that one source gave, followed by the source.

    >>> _from("Exif", ["100 (2 frames)", "400 (1 frame)"])
    '100 (2 frames), 400 (1 frame); Exif'
    """
    return f"{', '.join(values)}; {source}" if len(values) > 1 else f"{values[0]} ({source})"


def _is_body(path: Path) -> bool:
    from noiseflow.calibrate.body.body_file import is_body

    return is_body(path)


def _body(path: Path, settings: RawSettings | None) -> Description:
    from noiseflow.calibrate.body.body_file import read_body

    body = read_body(path)
    height, width = body.shape
    return {
        "kind": "body maps",
        "camera": body.camera or "unknown",
        "size": f"{width}×{height} pixels, {body.cfa}",
        "maps": "; ".join(body.summary()),
        "made by": body.provenance.get("tool", "unknown"),
    }


def _few(levels: Sequence[float]) -> Sequence[float]:
    """Return the levels of the planes, or only one of them if all are equal."""
    return levels[:1] if len(set(levels)) == 1 else levels


def _raw(path: Path, settings: RawSettings | None) -> Description:
    import numpy as np

    image = read_frame(path, settings)
    height, width = image.mosaic.shape
    described = {
        "kind": "raw file",
        "camera": image.camera or "unknown",
        "size": f"{width}×{height} pixels",
        "CFA": image.pattern,
        "ISO": f"{image.iso:g}" if image.iso is not None else "unknown",
        "exposure": f"{image.exposure_s:.6g} s" if image.exposure_s is not None else "unknown",
        "black level": ", ".join(f"{level:g}" for level in _few(image.black)) + " DN",
        "white level": f"{image.white:g} DN",
        "codes": f"{image.mosaic.min()} to {image.mosaic.max()}, median {np.median(image.mosaic):g} DN",
    }
    if (frames := frame_count(path)) > 1:
        described["frames"] = f"{frames}; this describes the first"
    if image.clip:
        described["clips at"] = ", ".join(f"{level:g}" for level in image.clips_at) + " DN, found in the pixels"
    described |= {f"{name} from": place for name, place in image.taken_from if place != "the file"}
    described |= {f"note {number}": words for number, words in enumerate(image.cautions, 1)}
    if not image.whole:
        described["values"] = (
            "fractions of a DN, or codes beyond 16 bits: a clean signal or normalised planes, not codes of a converter"
        )
    if image.noise_profile:
        described["noise profile"] = "; ".join(
            f"S {slope:.4g}, O {offset:.4g}" for slope, offset in image.noise_profile
        )
    return described


def _profile(path: Path, settings: RawSettings | None) -> Description:
    # Not through `noiseflow.models`, which imports torch.
    from noiseflow.calibrate.profiles.profile import read_profile
    from noiseflow.calibrate.profiles.published import shipped_profile

    profile = read_profile(path) if path.exists() else shipped_profile(camera_named(str(path)) or str(path))
    described = {
        "kind": "camera profile",
        "camera": profile.camera,
        "planes": profile.layout,
        "white level": f"{profile.white_dn:g} DN",
        "numbers": ", ".join(sorted({setting.kind for setting in profile.settings})),
    }
    dial = "nominal ISO" if profile.provenance.get("nominal_iso") is True else "ISO"
    for setting in profile.settings:
        known = [f"{name} {each.value:.4g}" for name, each in setting.estimates.items() if name in HEADLINES]
        described.setdefault(f"{dial} {setting.iso:g}", f"plane {setting.plane}: {', '.join(known) or 'no gain'}")
    return described


HEADLINES = ("gain_dn_per_e", "read_noise_dn", "black_dn")
"""Estimates that the description of a profile shows for each ISO."""


def _report(path: Path, settings: RawSettings | None) -> Description:
    from noiseflow.evaluate.report.metrics_file import read_metrics

    content = read_metrics(path)
    data = content["data"]
    return {
        "kind": "report",
        "models": ", ".join(content["models"]),
        "patches": f"{data['patches']:,} of split {data['split']}, {data['store']}",
        "verdict": content["headline"],
        "page": str(path / "index.html"),
    }


def _demo(path: Path, settings: RawSettings | None) -> Description:
    parts = {f"{name}": f"noiseflow info {path / name}" for name in DEMO}
    return {"kind": "folder of noiseflow demo", "verdict": _report(path / "report", settings)["verdict"], **parts}


def _folder(path: Path, settings: RawSettings | None) -> Description:
    collection = collect(path, settings)
    scenes = collection.scenes
    sizes = Counter(len(scene.frames) for scene in scenes)
    counted = ", ".join(f"{count} of {frames} frame{'s' * (frames != 1)}" for frames, count in sizes.items())
    first = scenes[0].frames[0].read()
    published = Counter(scene.split for scene in scenes if scene.split)
    return {
        "kind": next(source.kind for source in SOURCES if source.recognises(path)),
        "scenes": f"{len(scenes)} ({counted})",
        "clean twins": str(sum(scene.clean is not None for scene in scenes)),
        "first frame": f"{first.source}: {first.camera}, {first.pattern}, ISO {first.iso or 0:g}",
        "simulated": "yes, the true density is known" if collection.truth else "no",
        **({"published split": ", ".join(f"{n} {split}" for split, n in published.items())} if published else {}),
        **{f"note {number}": line for number, line in enumerate(collection.report, 1)},
    }


def _stopped(path: Path, settings: RawSettings | None) -> Description:
    raise NoiseflowError(f"{path}: an unfinished ingest; run its command again to continue")


def _is_hdf5(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (".h5", ".hdf5")


KINDS: tuple[tuple[Callable[[Path], bool], Callable[[Path, RawSettings | None], Description]], ...] = (
    (lambda path: not path.exists() or path.suffix.lower() == ".json", _profile),
    (lambda path: (path / "spec.json").is_file(), _run),
    (is_photo_denoiser, _photo_denoiser),
    (lambda path: (path / "metrics.json").is_file(), _report),
    (lambda path: all((path / name).exists() for name in DEMO), _demo),
    (is_raw, _raw),
    (_is_body, _body),
    (_is_hdf5, _store),
    (lambda path: path.is_dir() and path.suffix == PARTIAL, _stopped),
    (lambda path: path.is_dir() or any(source.recognises(path) for source in SOURCES), _folder),
)
"""Pairs of a test of the path and the function that describes it; the first match is used."""
