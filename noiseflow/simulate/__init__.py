"""A camera of known physics that writes real raw files with clean twins."""

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
