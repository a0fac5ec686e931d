"""`StoreWithBody`: a store that adds the fixed pattern of the camera body to its clean signal when it is read."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noiseflow.calibrate.body.body_file import read_body
from noiseflow.core.errors import DataError
from noiseflow.patches.pairings import PAIRINGS
from noiseflow.patches.schema import CFAS
from noiseflow.patches.store.patches import PatchBatch
from noiseflow.patches.store.store import PatchStore
from noiseflow.raw.bayer import pack

__all__ = ["StoreWithBody"]

TIME = "exposure"
"""Name of the fact in a store's table of sources that gives its exposure times."""


class StoreWithBody(PatchStore):
    """A patch store ingested without body maps, read as if it had been ingested with them.

    The photo response and dark pattern are added to clean twins, which removes them from the noise, and defective
    pixels are masked.  The clean signal of a burst, of flats or of darks contains the pattern already.

    Parameters
    ----------
    path : path
        The store.
    body : path
        Maps made by `noiseflow calibrate --maps`.

    Attributes
    ----------
    gaps : tuple of str
        What the maps do not cover of the store's frames, as sentences for the user.

    Raises
    ------
    DataError
        If the maps are for another camera, size, phase or ISO; the store was ingested with maps already; or the maps
        need one exposure time and the store has none or several.
    StoreError
        If the store cannot be read.
    """

    def __init__(self, path: str | Path, body: str | Path) -> None:
        super().__init__(path)
        self._body_path = Path(body)
        maps = read_body(body)
        if any(fact == "body" for fact, *_ in self.believed):
            raise DataError(f"{path}: was already ingested with body maps; evaluate it without --body")
        if set(self.cameras) != {maps.camera}:
            raise DataError(
                f"{path}: contains {', '.join(self.cameras)}, but the body maps {body} are for {maps.camera}; expected "
                "maps of the same camera"
            )
        twin = PAIRINGS[self.pairing].twin if self.pairing in PAIRINGS else False
        cfas = {CFAS[index] for index in np.unique(self.table["cfa"]).tolist()}
        height, width = maps.shape
        side = 1 if self.layout == "mono" else 2
        wide = [int(self.table[name].max()) + length for name, length in zip("yx", self.patch_shape[1:], strict=True)]
        outside = wide[0] > height // side or wide[1] > width // side
        if cfas != {maps.cfa} or self.layout not in ("bayer", "mono") or outside:
            raise DataError(
                f"{path}: contains {self.layout} patches of {', '.join(sorted(cfas))}, but the body maps {body} are "
                f"for {maps.cfa}, {width}×{height}, which is another camera, mode or crop; expected maps that fit"
            )

        def planes(values: NDArray[Any]) -> NDArray[Any]:
            return values[None] if self.layout == "mono" else pack(values, maps.cfa)

        seconds = self._exposure_s()
        self._good = ~planes(maps.defect_mask)
        self._response = planes(maps.gain.gain) if twin and maps.gain is not None else None
        self._dark = {iso: planes(maps.dark_at(iso, seconds)) for iso in self.isos} if twin and maps.darks else {}
        known = [gap for iso in self.isos for gap in maps.gaps(iso, seconds)] if twin else []
        self.gaps = tuple(dict.fromkeys(known))
        self.fingerprint = hashlib.sha256(self.fingerprint.encode() + self._body_path.read_bytes()).hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle only the paths; another process opens the files itself."""
        return {"path": self.path, "body": self._body_path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the files again."""
        self.__init__(state["path"], state["body"])  # type: ignore[misc]

    @property
    def has_masks(self) -> bool:
        """Whether any pixel is masked."""
        return super().has_masks or not self._good.all()

    def read(
        self, rows: NDArray[np.integer[Any]], dtype: torch.dtype = torch.float32, *, pairs: bool = False
    ) -> PatchBatch:
        """Read patches by row number, with the body's pattern in their clean signal; arguments as `PatchStore.read`."""
        batch, rows = super().read(rows, dtype, pairs=pairs), np.asarray(rows)
        table = batch.table
        good = torch.from_numpy(self._cut(self._good, table))
        observed = good if batch.observed is None else batch.observed & good
        batch = replace(batch, observed=None if bool(observed.all()) else observed)
        if self._response is None and not self._dark:
            return batch
        clean = batch.clean
        if self._response is not None:
            clean = clean * torch.from_numpy(self._cut(self._response, table)).to(dtype)
        if self._dark:
            dark = np.stack([self._cut(self._dark[float(row["iso"])], row[None])[0] for row in table])
            clean = clean + torch.from_numpy(dark / self._range[rows]).to(dtype)
        spread = torch.from_numpy(self._spread[rows]).to(dtype)
        return replace(batch, clean=clean, noise=batch.noise - (clean - batch.clean) / spread)

    def _cut(self, planes: NDArray[Any], table: NDArray[Any]) -> NDArray[Any]:
        """Cut a map at the positions of patches, shape (n, C, h, w)."""
        height, width = self.patch_shape[1:]
        return np.stack([planes[:, y : y + height, x : x + width] for y, x in zip(table["y"], table["x"], strict=True)])

    def _exposure_s(self) -> float | None:
        """Exposure time in seconds of the store's frames; None if it is unknown or there are several."""
        times = [value for fact, value, _ in self.believed if fact == TIME]
        return float(times[0].split()[0]) if len(times) == 1 and times[0].endswith(" s") else None
