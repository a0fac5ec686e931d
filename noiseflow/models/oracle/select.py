"""Which oracle knows the density of simulated data."""

from collections.abc import Mapping, Sequence
from typing import Any

from noiseflow.core.errors import ModelError
from noiseflow.models.model import NoiseModel
from noiseflow.models.oracle.poisson_gaussian import PoissonGaussianOracle
from noiseflow.models.oracle.row_noise import LineOracle
from noiseflow.models.spec import ModelSpec

__all__ = ["oracle_from_truth"]


def oracle_from_truth(
    truth: Mapping[str, Any], layout: str, cameras: Sequence[str], isos: Sequence[float]
) -> NoiseModel | None:
    """The oracle of simulated data: exact for Poisson–Gaussian noise, else numerical.

    None where there is neither: a camera whose truth is not told, or one with rows or
    Tukey-lambda read noise that tells single photons apart.
    """
    told = [truth.get(camera) for camera in cameras]
    if any(each is None for each in told):
        return None
    spec = ModelSpec("oracle", layout, tuple(cameras), tuple(isos), {"truth": dict(truth)})
    if all(each["read_shape"] == "gaussian" and not any(each["row_sigma_dn"]) for each in told if each):
        return PoissonGaussianOracle(spec)
    oracle = LineOracle(spec)
    try:
        for index, each in enumerate(told):
            for iso in each["isos"] if each else ():
                oracle.table(index, iso)
    except ModelError:
        return None
    return oracle
