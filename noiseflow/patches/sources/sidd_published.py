"""What is published about SIDD: cameras, scene lists, split, patches, noise-level functions."""

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
    """The manifest ``sidd.toml``.

    Parameters
    ----------
    cfa : mapping
        Camera code to phase.
    scenes, blocks : tuple of str
        Names of the 160 instances with full frames, and of the 40 held out, in the order of the
        block files.
    split : mapping
        Instance number to ``"train"`` or ``"test"``.
    patch_size, patches_per_frame : int
        Side of a published patch, pixels of a plane; number of them in a frame.
    nlf : mapping
        ``CAMERA_ISO`` to (β₁, β₂), var = β₁·signal + β₂ of the signal in [0, 1].
    """

    cfa: Mapping[str, str]
    scenes: tuple[str, ...]
    blocks: tuple[str, ...]
    split: Mapping[int, str]
    patch_size: int
    patches_per_frame: int
    nlf: Mapping[str, tuple[float, float]]


@cache
def published() -> Published:
    """What stands in the manifest."""
    text = resources.files("noiseflow.patches.sources").joinpath("sidd.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    return Published(
        cfa={code: camera["cfa"] for code, camera in table["cameras"].items()},
        scenes=tuple(table["names"]["scenes"]),
        blocks=tuple(table["names"]["blocks"]),
        split={number: split for split, numbers in table["split"].items() for number in numbers},
        patch_size=table["patches"]["size"],
        patches_per_frame=table["patches"]["per_frame"],
        nlf={key: (beta1, beta2) for key, (beta1, beta2) in table["nlf"].items()},
    )


def published_grid(shape: tuple[int, ...], size: int) -> NDArray[Any]:
    """Corners (y, x) of the patches that Noise Flow took, shape (n, 2).

    Side by side from the first pixel, and of size 32 the first 2,898.  The published code walks
    the frame as HDF5 holds it, transposed, so that patches are counted down the columns.
    """
    rows, columns = (range(0, length - size + 1, size) for length in shape)
    corners = np.array([(y, x) for x in columns for y in rows], dtype=np.int64).reshape(-1, 2)
    return corners[: published().patches_per_frame] if size == published().patch_size else corners


def facts_of(name: SceneName) -> dict[str, Any]:
    """The facts of a scene instance that its name and the manifest tell."""
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
