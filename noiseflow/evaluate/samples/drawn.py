"""Samples from another program for a store's clean patches, as a model that can only sample.

A folder of samples contains ``samples.json``, such as ::

    {"clean_sha256": "as in task.json", "name": "my GAN"}

and one array in the order of the clean patches: ``noise.npy`` (normalised noise), ``noisy.npy`` (normalised noisy
signal) or ``codes.npy`` (integers in DN, black level included).  ``.npz`` and ``.h5`` files with one array of that name
are read too.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.errors import ModelError
from noiseflow.core.reading.schema import Flag, Table, Text, checked
from noiseflow.core.reading.text import read_json
from noiseflow.evaluate.baselines import BASELINES
from noiseflow.evaluate.metric import DATA, ORACLE
from noiseflow.evaluate.samples.task import SAMPLES, TASK, clean_digest
from noiseflow.flows.conditions import Resolved
from noiseflow.models.model import ModelSpec, NoiseModel
from noiseflow.ops.random.sampling import Source
from noiseflow.patches.store.store import PatchStore

__all__ = ["KINDS", "DrawnSamples", "read_samples"]

SCHEMA = Table(
    {"clean_sha256": Text(64, 64, "[0-9a-f]*")},
    {"name": Text(100, 1), "before_rounding": Flag(), "made_by": Text(10_000)},
)
RESERVED = (DATA, ORACLE, *BASELINES)
"""Names reserved for the data, the oracle and the baselines in a report."""

WHAT = f"{SAMPLES} of a folder of samples"


class DrawnSamples(NoiseModel):
    """Samples from another program, one for each patch of a split, without a density.

    Parameters
    ----------
    spec : ModelSpec
        Name of the sampler, and the layout, cameras and ISOs of the store.
    path : Path
        File of the samples.
    kind : str
        Kind of the values, a name in `KINDS`: ``"noise"``, ``"noisy"`` or ``"codes"``.
    samples : ndarray, shape (N, C, h, w)
        Samples in the order of `rows`.
    rows : ndarray of int, shape (N,)
        Rows of the store that the samples are for, rising.
    """

    def __init__(self, spec: ModelSpec, path: Path, kind: str, samples: NDArray[Any], rows: NDArray[np.int64]) -> None:
        super().__init__(spec)
        self.path, self.kind, self.samples, self.rows = path, kind, samples, rows

    def samples_of(self, rows: NDArray[np.int64], clean: Tensor, table: NDArray[Any]) -> Tensor:
        """Return the noise sampled for some rows of the store.

        Parameters
        ----------
        rows : ndarray of int, shape (B,)
            Rows of the store.
        clean : Tensor, shape (B, C, h, w)
            Normalised clean signal of these rows.
        table : ndarray, shape (B,)
            Fields of these rows, with black and white levels.

        Returns
        -------
        Tensor, shape (B, C, h, w)
            Normalised noise.

        Raises
        ------
        ModelError
            A row without a sample, or a sample that is not finite.
        """
        place = np.searchsorted(self.rows, rows).clip(max=len(self.rows) - 1)
        if not np.array_equal(self.rows[place], rows):
            raise ModelError(
                f"{self.path}: has no samples for some of these patches; score the split that they were drawn for"
            )
        drawn = torch.from_numpy(np.ascontiguousarray(self.samples[place], np.float64))
        noise = KINDS[self.kind](drawn, clean.double(), table)
        finite = noise.isfinite().flatten(1).all(1).numpy()
        if not finite.all():
            raise ModelError(
                f"{self.path}: samples {place[~finite][:5].tolist()} contain NaN or infinite values; draw them again"
            )
        return noise.to(clean.dtype)

    def _log_prob(self, noise: Tensor, cond: Resolved) -> Tensor:
        raise ModelError("samples from another program have no density")

    def _sample(self, cond: Resolved, generator: Source, temperature: float) -> Tensor:
        raise ModelError(f"{self.path}: contains stored samples only; it cannot sample for other clean signals")


def _of_noise(drawn: Tensor, clean: Tensor, table: NDArray[Any]) -> Tensor:
    """Return normalised noise as it is."""
    return drawn


def _of_noisy(drawn: Tensor, clean: Tensor, table: NDArray[Any]) -> Tensor:
    """Convert a normalised noisy signal to normalised noise."""
    return drawn - clean


def _of_codes(drawn: Tensor, clean: Tensor, table: NDArray[Any]) -> Tensor:
    """Convert codes in DN to normalised noise."""
    black = torch.from_numpy(table["black"].astype(np.float64))[:, :, None, None]
    white = torch.from_numpy(table["white"].astype(np.float64))[:, None, None, None]
    return (drawn - black) / (white - black) - clean


KINDS: Mapping[str, Callable[[Tensor, Tensor, NDArray[Any]], Tensor]] = {
    "noise": _of_noise,
    "noisy": _of_noisy,
    "codes": _of_codes,
}
"""Conversion to normalised noise of each kind of array, by its name."""


def _of_npy(path: Path, name: str) -> NDArray[Any]:
    return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]


def _of_npz(path: Path, name: str) -> NDArray[Any]:
    with np.load(path, allow_pickle=False) as arrays:
        return arrays[name]  # type: ignore[no-any-return]


def _of_hdf5(path: Path, name: str) -> NDArray[Any]:
    with h5py.File(path) as file:
        return file[name][()]  # type: ignore[no-any-return]


READERS: Mapping[str, Callable[[Path, str], NDArray[Any]]] = {".npy": _of_npy, ".npz": _of_npz, ".h5": _of_hdf5}
"""Readers of an array from a file and its name, by suffix."""


def read_samples(path: str | Path, store: PatchStore, split: str) -> DrawnSamples:
    """Read a folder of samples for the clean patches of a store.

    Parameters
    ----------
    path : path
        Folder with ``samples.json`` and the array.
    store : PatchStore
        Store from which the clean patches were written.
    split : str
        Split from which they were written.

    Returns
    -------
    DrawnSamples
        The samples as a model.

    Raises
    ------
    ModelError
        A missing or damaged file, a reserved name, another number or shape of samples, or samples for other clean
        signals.
    StoreError
        The split is empty or unknown.
    """
    path = Path(path)
    stated = checked(read_json(path / SAMPLES, WHAT, ModelError), SCHEMA, str(path / SAMPLES), ModelError)
    name = stated.get("name", path.resolve().name)
    if name in RESERVED:
        raise ModelError(f"{path / SAMPLES}: the name {name!r} is reserved; choose another name")
    file, kind, samples = _array(path)
    rows = store.indices(split)
    shape = (len(rows), *store.patch_shape)
    if samples.shape != shape or samples.dtype.kind not in "fiu":
        raise ModelError(
            f"{file}: expected real numbers of shape {shape}; got {samples.dtype} of shape {samples.shape}"
        )
    digest = clean_digest(store, rows)
    if digest != stated["clean_sha256"]:
        raise ModelError(
            f"{path / SAMPLES}: the samples are for other clean signals than those of split {split!r} of {store.path} "
            f"(SHA-256 {stated['clean_sha256'][:12]}, expected {digest[:12]}); draw them for the patches written by "
            f"`noiseflow clean-patches`, with the checksum in {TASK}"
        )
    options = {"before_rounding": True} if stated.get("before_rounding") else {}
    spec = ModelSpec(name, store.layout, store.cameras, store.isos, options)
    return DrawnSamples(spec, file, kind, samples, rows).eval()


def _array(path: Path) -> tuple[Path, str, NDArray[Any]]:
    """Return file, kind and array of a folder of samples."""
    found = [(path / f"{kind}{suffix}", kind) for kind in KINDS for suffix in READERS]
    found = [(file, kind) for file, kind in found if file.is_file()]
    if len(found) != 1:
        names = ", ".join(file.name for file, _ in found) or "none"
        raise ModelError(f"{path}: expected one of noise, noisy and codes as .npy, .npz or .h5; got {names}")
    file, kind = found[0]
    try:
        return file, kind, READERS[file.suffix](file, kind)
    except (OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError) as error:
        raise ModelError(f"{file}: cannot be read ({error}); expected one array of numbers named {kind!r}") from error
