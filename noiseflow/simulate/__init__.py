"""A camera of known physics that writes real raw files with clean twins."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noiseflow.simulate.cameras import camera_names, load_camera
    from noiseflow.simulate.physics import CameraPhysics, IsoPhysics, expose
    from noiseflow.simulate.scenes import scene_names
    from noiseflow.simulate.series import simulate_series
    from noiseflow.simulate.write import simulate, truth_of

__all__ = [
    "CameraPhysics",
    "IsoPhysics",
    "camera_names",
    "expose",
    "load_camera",
    "scene_names",
    "simulate",
    "simulate_series",
    "truth_of",
]

_HOME = {
    "CameraPhysics": "physics",
    "IsoPhysics": "physics",
    "camera_names": "cameras",
    "expose": "physics",
    "load_camera": "cameras",
    "scene_names": "scenes",
    "simulate": "write",
    "simulate_series": "series",
    "truth_of": "write",
}


def __getattr__(name: str) -> Any:
    # An ingest only wants to know what the folders of a simulation look like.
    if name not in _HOME:
        raise AttributeError(f"module 'noiseflow.simulate' has no attribute {name!r}")
    return getattr(importlib.import_module(f"noiseflow.simulate.{_HOME[name]}"), name)
