from .calibrate_camera import calibrate as calibrate, calibrate_few as calibrate_few
from .measured import Calibration as Calibration, Evidence as Evidence
from .measurement import Measurement as Measurement
from .measurements.gain_law import GainLaw as GainLaw, fit_gain_law as fit_gain_law
from .prior.few_shot import few_shot as few_shot, sample_camera as sample_camera
from .profiles.profile import (
    QUANTITIES as QUANTITIES,
    Profile as Profile,
    Setting as Setting,
    read_profile as read_profile,
    write_profile as write_profile,
)
from .single_frame.estimate import PictureNoise as PictureNoise, measure_picture as measure_picture
