"""CRVD, indoor: 11 scenes with 7 still positions at 5 ISOs, each with 10 noisy frames and a clean one.

``indoor_raw_noisy/[indoor_raw_noisy_scene1/]scene1/ISO1600/frame1_noisy0.tiff`` belongs to
``indoor_raw_gt/[indoor_raw_gt_scene1/]scene1/ISO1600/frame1_clean_and_slightly_denoised.tiff``.  The files
are 12-bit mosaics of an IMX385 without levels; these are in the manifest.  If the mean that the authors did
not denoise, ``frame1_clean.tiff``, is among the noisy frames, it is used as the clean signal instead.

References
----------
Yue, Cao, Liao, Chu, Yang: Supervised Raw Video Denoising with a Benchmark Dataset on Dynamic Scenes, CVPR 2020.
"""

import re
from collections import defaultdict
from pathlib import Path

from noiseflow.patches.sources.published.manifest import manifest
from noiseflow.patches.sources.scene import Collection, Scene, clean_frame, file_frame
from noiseflow.raw.file_names import walk
from noiseflow.raw.settings import RawSettings

__all__ = ["SCENES", "TEST_SCENES", "gather", "recognises"]

NOISY, CLEAN = "indoor_raw_noisy", "indoor_raw_gt"
PUBLISHED = manifest("crvd")
SCENES = range(1, PUBLISHED["scenes"] + 1)
TEST_SCENES: tuple[int, ...] = tuple(PUBLISHED["test"])
"""Numbers of the indoor scenes used for testing in the paper."""
ISOS: tuple[int, ...] = tuple(PUBLISHED["isos"])
FRAMES = range(1, PUBLISHED["frames"] + 1)

LEVELS = RawSettings(
    cfa=PUBLISHED["cfa"],
    black=(float(PUBLISHED["black"]),),
    white=float(PUBLISHED["white"]),
    camera=PUBLISHED["camera"],
)
PLACE = r"scene(\d+)/ISO(\d+)/frame(\d+)_"
NOISY_NAME, CLEAN_NAME = (re.compile(PLACE + kind + r"\.tiff?$", re.IGNORECASE) for kind in (r"noisy\d+", r"clean\w*"))

Place = tuple[int, int, int]
"""Numbers of scene, ISO and frame."""


def recognises(path: Path) -> bool:
    """Whether a folder contains the folders of noisy and of clean indoor frames."""
    return (path / NOISY).is_dir() and (path / CLEAN).is_dir()


def gather(path: Path, settings: RawSettings) -> Collection:
    """Make a scene of each still position at each ISO, with the published split; missing frames are reported."""
    noisy, denoised = _found(path / NOISY, NOISY_NAME), _found(path / CLEAN, CLEAN_NAME)
    averaged = _found(path / NOISY, CLEAN_NAME)
    clean = denoised | averaged
    known = settings.over(LEVELS)
    scenes = tuple(
        Scene(
            name=f"scene{scene}/ISO{iso}/frame{frame}",
            frames=tuple(file_frame(file, RawSettings(iso=float(iso)).over(known)) for file in files),
            clean=clean_frame(clean[scene, iso, frame][0], RawSettings(iso=float(iso)).over(known)),
            subject=f"scene{scene}",
            split="test" if scene in TEST_SCENES else "train",
        )
        for (scene, iso, frame), files in sorted(noisy.items())
        if (scene, iso, frame) in clean
    )
    published = {(scene, iso, frame) for scene in SCENES for iso in ISOS for frame in FRAMES}
    missing = published - {place for place in noisy if place in clean}
    report = [f"{path}: published split by scene, {TEST_SCENES[0]} to {TEST_SCENES[-1]} for testing"]
    report.append(
        f"{path}: the clean signal of {len(averaged.keys() & noisy.keys())} frames is the authors' mean "
        f"(frameN_clean); of {len((noisy.keys() & clean.keys()) - averaged.keys())} frames it is that mean, slightly "
        "denoised"
    )
    if missing:
        first = sorted(missing)[0]
        report.append(f"{path}: {len(missing)} of {len(published)} published frames missing, the first {first}")
    alone = len([place for place in noisy if place not in clean])
    if alone:
        report.append(f"{path}: {alone} noisy frames left out because their clean frame is missing")
    return Collection(scenes, report=tuple(report))


def _found(folder: Path, pattern: re.Pattern[str]) -> dict[Place, list[Path]]:
    """Find files whose names match, by scene, ISO and frame."""
    found: dict[Place, list[Path]] = defaultdict(list)
    for below, names, _ in walk(folder):
        for name in names:
            match = pattern.search((below / name).as_posix())
            if match:
                found[int(match[1]), int(match[2]), int(match[3])].append(below / name)
    return {place: sorted(files) for place, files in found.items()}
