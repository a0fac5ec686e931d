"""`StoreWriter`: write a patch store piece by piece."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from noiseflow.core.output.checks import check_output, writing
from noiseflow.core.output.whole import place_file, private_folder
from noiseflow.patches.assembly.parts import PartNote, PartWriter
from noiseflow.patches.assembly.store_assembly import assemble
from noiseflow.patches.assembly.unfinished import on_disk
from noiseflow.patches.schema import LABELS, StoreHeader

__all__ = ["StoreWriter"]


class StoreWriter:
    """Writes a patch store piece by piece; memory use does not grow with the store.

    Use it as a context manager: the store appears under its name at the end of the block, and
    an exception in the block removes what was written.

    Parameters
    ----------
    path : path
        Final name of the store.
    layout, patch_size, pairing, provenance, truth
        Facts that apply to all patches, as in `StoreHeader`.
    overwrite : bool
        Replace an existing file of this name.

    Raises
    ------
    OutputError
        If the file exists, its folder does not exist, or another process is writing it.
    StoreError
        If nothing was appended.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        layout: str,
        patch_size: int,
        pairing: str,
        provenance: Mapping[str, Any],
        truth: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self.header = StoreHeader(layout, patch_size, pairing, provenance, truth or {})
        check_output(self.path, overwrite=overwrite)
        self._overwrite = overwrite
        self._labels: dict[str, dict[str, int]] = {label: {} for label in LABELS}
        self._checksums: dict[str, str] = {}
        self._parts = self._count = 0
        self._stack = ExitStack()
        self._folder = Path()

    def label(self, kind: str, name: str) -> int:
        """Index of a name in the list ``cameras``, ``scenes`` or ``sources``; new names are added."""
        return self._labels[kind].setdefault(name, len(self._labels[kind]))

    def source(self, name: str, checksum: str) -> int:
        """Index of a source file in ``sources``; its BLAKE3 checksum is stored with it."""
        self._checksums[name] = checksum
        return self.label("sources", name)

    def append(
        self, noisy: NDArray[Any], clean: NDArray[Any], table: NDArray[Any], masked: NDArray[Any] | None = None
    ) -> None:
        """Add patches.

        Parameters
        ----------
        noisy, clean : ndarray, shape (n, C, h, w)
            Pixels in DN; `noisy` must be integers.
        table : structured ndarray of `fields`, shape (n,)
            One row per patch; ``crc32`` is filled in.
        masked : ndarray of bool, shape (n, C, h, w), optional
            True where a pixel is masked.
        """
        cameras, scenes, sources = (list(self._labels[label]) for label in LABELS)
        known = [self._checksums.get(name, "") for name in sources]
        with PartWriter(self._folder, self._parts) as part:
            part.append(noisy, clean, masked)
            part.finish(PartNote(len(table), cameras, scenes, sources, known), table.copy())
        self._parts += 1
        self._count += len(table)

    def __len__(self) -> int:
        return self._count

    def __enter__(self) -> "StoreWriter":
        self._stack.enter_context(writing(self.path, overwrite=self._overwrite))
        self._folder = self._stack.enter_context(private_folder(self.path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is None:
                whole = assemble(self._folder, self._parts, self.path, self.header)
                check_output(self.path, overwrite=self._overwrite)
                with on_disk(self.path):
                    place_file(whole, self.path, replace=self._overwrite)
