"""Files of the prior over cameras: safetensors, with a JSON card beside it."""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from noiseflow.calibrate.prior.curve import DUAL_ISOS, OBSERVED, PARAMETERS
from noiseflow.calibrate.prior.posterior import CameraPrior
from noiseflow.core.errors import DataError
from noiseflow.core.text import json_text

__all__ = ["read_prior", "write_prior"]

SHAPES = {
    "mean": (len(PARAMETERS),),
    "covariance": (len(PARAMETERS), len(PARAMETERS)),
    "scatter": (len(OBSERVED),),
    "dual": (len(DUAL_ISOS),),
}


def read_prior(path: str | Path) -> CameraPrior:
    """Read a prior over cameras.

    Parameters
    ----------
    path : path
        The safetensors file.

    Returns
    -------
    CameraPrior
        The prior; its probabilities are normalised.

    Raises
    ------
    DataError
        No such file, arrays other than those of a prior, or a covariance, scatter or probability out of range.
    """
    try:
        arrays = load(Path(path).read_bytes())
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: cannot be read as a prior over cameras ({error})") from error
    found = {name: array.shape for name, array in arrays.items() if array.dtype == np.float64}
    if found != SHAPES or len(arrays) != len(found) or not all(np.isfinite(array).all() for array in arrays.values()):
        raise DataError(
            f"{path}: has float64 arrays {found}; expected finite {SHAPES}, as written by tools.studies.cameras.learn"
        )
    if np.linalg.eigvalsh(arrays["covariance"]).min() <= 0 or arrays["dual"].min() < 0 or arrays["scatter"].min() <= 0:
        raise DataError(
            f"{path}: expected a positive definite covariance, positive scatter and probabilities of 0 or above; learn "
            "the prior again"
        )
    return CameraPrior(arrays["mean"], arrays["covariance"], arrays["scatter"], arrays["dual"] / arrays["dual"].sum())


def write_prior(prior: CameraPrior, path: Path, card: dict[str, object]) -> None:
    """Write a prior, and a card with its provenance as JSON beside it.

    Parameters
    ----------
    prior : CameraPrior
        The prior.
    path : Path
        safetensors file to write; an existing one is replaced.
    card : dict
        Content of the JSON file, of the same name with the suffix ``.json``.
    """
    arrays = {name: np.ascontiguousarray(getattr(prior, name), np.float64) for name in SHAPES}
    path.write_bytes(save(arrays))
    path.with_suffix(".json").write_text(json_text(card), encoding="utf-8")
