"""Published facts about SIDD: cameras, scene lists, split, patches, noise-level functions."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseflow.raw.formats.sidd import SceneName

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Published", "facts_of", "published", "published_grid"]


@dataclass(frozen=True)
class Published:
    """Content of the manifest ``sidd.toml``.

    Parameters
    ----------
    cfa : mapping
        Camera code → Bayer phase.
    scenes, blocks : tuple of str
        Names of the 160 instances with full frames, and of the 40 instances of the block files, in
        their order.
    split : mapping
        Instance number → ``"train"`` or ``"test"``.
    frames : tuple of str
        Numbers of the frames of each instance that the published lists use.
    patch_size, patches_per_frame : int
        Side of a published patch in pixels of a plane, and number of patches per frame.
    nlf : mapping
        ``CAMERA_ISO`` → (β₁, β₂): the variance of the signal in [0, 1] is β₁·signal + β₂.
    """

    cfa: Mapping[str, str]
    scenes: tuple[str, ...]
    blocks: tuple[str, ...]
    split: Mapping[int, str]
    frames: tuple[str, ...]
    patch_size: int
    patches_per_frame: int
    nlf: Mapping[str, tuple[float, float]]


@cache
def published() -> Published:
    """Read the manifest."""
    text = resources.files("noiseflow.patches.sources").joinpath("sidd.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    return Published(
        cfa={code: camera["cfa"] for code, camera in table["cameras"].items()},
        scenes=tuple(table["names"]["scenes"]),
        blocks=tuple(table["names"]["blocks"]),
        split={number: split for split, numbers in table["split"].items() for number in numbers},
        frames=tuple(table["patches"]["frames"]),
        patch_size=table["patches"]["size"],
        patches_per_frame=table["patches"]["per_frame"],
        nlf={key: (beta1, beta2) for key, (beta1, beta2) in table["nlf"].items()},
    )


def published_grid(shape: tuple[int, ...], size: int) -> NDArray[Any]:
    """Corners (y, x) of the patches used by Noise Flow, shape (n, 2).

    Patches lie side by side from the first pixel; of size 32 the first 2,898 are used.  The published
    code reads frames transposed, as HDF5 stores them, so patches are numbered down the columns.

    Parameters
    ----------
    shape : tuple of int
        (H, W) of the planes.
    size : int
        Height and width of a patch in pixels of a plane.
    """
    rows, columns = (range(0, length - size + 1, size) for length in shape)
    corners = np.array([(y, x) for x in columns for y in rows], dtype=np.int64).reshape(-1, 2)
    return corners[: published().patches_per_frame] if size == published().patch_size else corners


def facts_of(name: SceneName) -> dict[str, Any]:
    """Facts about a scene instance from its name and the manifest."""
    nlf = published().nlf.get(f"{name.camera}_{name.iso:05.0f}")
    return {
        "data_set": "SIDD",
        "instance": name.instance,
        "scene": name.scene,
        "camera_code": name.camera,
        "iso": name.iso,
        "exposure_s": name.exposure_s,
        "illuminant_k": name.illuminant_k,
        "brightness": name.brightness,
        "published_nlf": list(nlf) if nlf else None,
    }
