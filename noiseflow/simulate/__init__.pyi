from .cameras import camera_names as camera_names, load_camera as load_camera
from .physics import CameraPhysics as CameraPhysics, IsoPhysics as IsoPhysics, expose as expose
from .scenes import scene_names as scene_names
from .series import simulate_series as simulate_series
from .write import simulate as simulate, truth_of as truth_of
