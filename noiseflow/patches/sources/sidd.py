"""SIDD's folder trees: Small, Medium and Full, raw-RGB.

Medium contains ``Data/0001_001_S6_00100_00060_3200_L/0001_NOISY_RAW_010.MAT`` with
``…GT_RAW…`` and ``…METADATA_RAW…`` next to it; Full has one more level of folders, such as
``0001_NOISY_RAW``.  Each noisy frame has its own ground truth, so each makes a scene; the frames
of one instance stay in one split.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noiseflow.core.errors import RawError
from noiseflow.core.text import counted
from noiseflow.patches.sources.scene import Collection, Scene, clean_frame, file_frame
from noiseflow.patches.sources.sidd_departures import departures
from noiseflow.patches.sources.sidd_published import facts_of, published, published_grid
from noiseflow.raw.formats.sidd import NAME, SceneName, metadata_beside, read_metadata
from noiseflow.raw.settings import RawSettings

__all__ = ["gather", "recognises"]


def recognises(path: Path) -> bool:
    """Whether a folder is a scene instance, or contains some directly or in ``Data``."""
    return path.is_dir() and any(True for _ in _instances(path))


def gather(path: Path, settings: RawSettings) -> Collection:
    """Make a scene of each noisy frame, with the published split.

    Instances that are in neither published list are left out.  If no instance is in a list, all are
    used, without a split.  Instances that are missing, left out, or unknown to the data set are reported.

    Raises
    ------
    RawError
        If there is no readable raw frame.
    """
    found = dict(_instances(path))
    listed = {folder: name for folder, name in found.items() if name.instance in published().split}
    report: list[str] = []
    if listed and len(listed) < len(found):
        report.append(
            f"{path}: {counted(len(found) - len(listed), 'scene')} in neither the published training nor test list "
            "left out"
        )
    scenes: list[Scene] = []
    for folder, name in (listed or found).items():
        scenes += _scenes(folder, name, settings, report, split=published().split.get(name.instance))
    if not scenes:
        raise RawError(
            f"{path}: has {counted(len(found), 'SIDD scene folder')}, but no readable raw frame in them: "
            f"{report[-1] if report else 'expected …NOISY_RAW….MAT files, the raw-RGB version of the data set'}"
        )
    if listed and path not in found:
        report += departures(path, found, scenes)
    if listed:
        count, size = published().patches_per_frame, published().patch_size
        report += [
            f"published split; the published {count:,} patches per frame if they are {size}×{size}; "
            "--max-clipped 1 keeps all of them",
            "no validation split is published; give ValidationNoisyBlocksRaw.mat as a second source to add one",
        ]
    return Collection(tuple(scenes), report=tuple(report))


def _instances(path: Path) -> Iterator[tuple[Path, SceneName]]:
    itself = SceneName.parse(path.absolute().name)
    if itself is not None:
        yield path, itself
        return
    for place in (path / "Data", path):
        if place.is_dir():
            named = [(entry, SceneName.parse(entry.name)) for entry in sorted(place.iterdir()) if entry.is_dir()]
            instances = [(entry, name) for entry, name in named if name is not None]
            if instances:
                yield from instances
                return


def _scenes(
    folder: Path, name: SceneName, settings: RawSettings, report: list[str], split: str | None
) -> Iterator[Scene]:
    try:
        files = sorted(file for file in (*folder.iterdir(), *folder.glob("*/*")) if NAME.fullmatch(file.name))
    except OSError as error:
        report.append(f"{folder}: cannot be opened ({error.strerror}); left out")
        return
    noisy = [file for file in files if "NOISY" in file.name.upper()]
    clean = {_frame(file): file for file in files if file not in noisy}
    if not noisy:
        packed = [file.name for file in folder.glob("*.zip")]
        hint = f" ({', '.join(packed[:2])}: unpack the archives first)" if packed else ""
        report.append(f"{folder}: no noisy raw frame{hint}; left out")
    told = settings.cfa is not None and settings.black is not None and settings.white is not None
    for file in noisy:
        twin = clean.get(_frame(file))
        if clean and twin is None:
            report.append(f"{file}: its ground truth is missing; left out")
            continue
        try:
            facts = _with_metadata(facts_of(name), file)
        except RawError as error:
            if not told:
                report.append(f"{error}; left out")
                continue
            facts = facts_of(name)
        if facts.get("cfa", published().cfa.get(name.camera)) != published().cfa.get(name.camera):
            report.append(
                f"{file}: its metadata says {facts['cfa']}, but the {name.camera} has "
                f"{published().cfa.get(name.camera, 'an unknown array')}"
            )
        yield Scene(
            name=f"{folder.name}/{_frame(file)}",
            frames=(file_frame(file, settings),),
            clean=clean_frame(twin, settings) if twin else None,
            # Without a published split, instances of the same scene stay together.
            subject=folder.name if split else f"scene {name.scene}",
            split=split,
            facts=facts,
            grid=published_grid if split else None,
        )


def _frame(file: Path) -> str:
    match = NAME.fullmatch(file.name)
    return match["frame"] if match else ""


def _with_metadata(facts: dict[str, Any], file: Path) -> dict[str, Any]:
    beside = metadata_beside(file)
    if beside is None:
        raise RawError(f"{file}: its metadata file is missing")
    metadata = read_metadata(beside)
    return {
        **facts,
        "iso": metadata.iso or facts["iso"],
        "exposure_s": metadata.exposure_s or facts["exposure_s"],
        "cfa": metadata.cfa,
        "black_dn": metadata.black,
        "white_dn": metadata.white,
        "make": metadata.make,
        "model": metadata.model,
        "nlf": [list(pair) for pair in metadata.noise_profile],
    }
