"""Whether what stands under a final name is whole."""

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["digests", "leftovers", "whole"]


def whole(path: Path) -> str:
    """What is wrong with an output; empty if it is whole."""
    from noiseflow.cli.workflows.describe import describe
    from noiseflow.core.errors import NoiseflowError
    from noiseflow.core.output.manifest import foreign
    from noiseflow.core.output.verified import verified

    try:
        if path.suffix in SINGLE:
            SINGLE[path.suffix](path)
        # Cells of a benchmark and their data have lists of their own, which `verified` reads.
        elif others := [name for name in foreign(path) if not name.startswith(("cells", "data"))]:
            return f"holds {others[:3]}"
        elif (found := verified(path)) is None or found.changed:
            return f"differs from its list: {found}"
        elif (path / "spec.json").exists():
            describe(path)
    except (NoiseflowError, OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        return str(error)
    return ""


def _store_or_maps(path: Path) -> None:
    import h5py

    from noiseflow.calibrate.body.body_file import read_body
    from noiseflow.patches import PatchStore

    with h5py.File(path, "r") as file:
        is_store = "fingerprint" in file.attrs
    if not is_store:
        read_body(path)
        return
    with PatchStore(path) as store:
        store.verify()


def _profile(path: Path) -> None:
    import json

    from noiseflow.calibrate import read_profile

    if "noiseprofiles" not in json.loads(path.read_text()):
        read_profile(path)


def _frame(path: Path) -> None:
    from noiseflow.raw import read_raw

    read_raw(path)


def _picture(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as picture:
        picture.load()


def _page(path: Path) -> None:
    from noiseflow.core.output.marks import has_mark

    if not has_mark(path):
        raise ValueError(f"{path}: a page without an end, or other than its checksum says")


def _program(path: Path) -> None:
    import torch.export

    torch.export.load(path)


SINGLE = {".h5": _store_or_maps, ".json": _profile, ".dng": _frame, ".png": _picture, ".html": _page, ".pt2": _program}
"""By suffix of a single file, how it is read."""


def digests(path: Path, names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of files of an output, or of all of it."""
    if not names:
        found = [each for each in path.rglob("*") if each.is_file() and each.name != ".noiseflow"]
        return {str(each.relative_to(path)): hashlib.sha256(each.read_bytes()).hexdigest() for each in found}
    files = {name: path / name if name else path for name in names}
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items() if file.exists()}


def leftovers(folder: Path, before: set[str]) -> list[str]:
    """Names in a folder that are none of the inputs or the outputs."""
    return sorted({path.name for path in folder.iterdir()} - before)
