"""Choice of the oracle for simulated data."""

from collections.abc import Mapping, Sequence
from typing import Any

from noiseflow.core.errors import ModelError
from noiseflow.models.model import ModelSpec, NoiseModel
from noiseflow.models.oracle.poisson_gaussian import PoissonGaussianOracle
from noiseflow.models.oracle.row_noise import LineOracle

__all__ = ["oracle_from_truth"]


def oracle_from_truth(
    truth: Mapping[str, Any], layout: str, cameras: Sequence[str], isos: Sequence[float]
) -> NoiseModel | None:
    """Build the oracle of simulated data: exact for Poisson–Gaussian noise, otherwise numerical.

    Returns None if a camera has no known truth, or has row noise or Tukey-lambda read noise together with read noise
    so small that single photons can be distinguished.

    Parameters
    ----------
    truth : mapping
        Truth of each camera, from `noiseflow.simulate.truth_of`.
    layout : str
        Plane layout of the data.
    cameras, isos : sequence
        Camera names and ISOs of the data.
    """
    of_camera = [truth.get(camera) for camera in cameras]
    if any(each is None for each in of_camera):
        return None
    spec = ModelSpec("oracle", layout, tuple(cameras), tuple(isos), {"truth": dict(truth)})
    if all(each["read_shape"] == "gaussian" and not any(each["row_sigma_dn"]) for each in of_camera if each):
        return PoissonGaussianOracle(spec)
    oracle = LineOracle(spec)
    try:
        for index, each in enumerate(of_camera):
            for iso in each["isos"] if each else ():
                oracle.table(index, iso)
    except ModelError:
        return None
    return oracle
