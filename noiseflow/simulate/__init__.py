"""A camera of known physics that writes real raw files with clean twins."""

from typing import TYPE_CHECKING

from noiseflow.lazy import on_demand

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

# An ingest only wants to know what the folders of a simulation look like.
__getattr__ = on_demand(__name__, _HOME)
