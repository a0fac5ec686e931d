"""Checksums of a mutated file computed anew: a lie that the schemas must find, as nothing else will."""

import contextlib
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from noiseflow.calibrate.body import body_file
from noiseflow.calibrate.profiles import profile
from noiseflow.core.output.manifest import MANIFEST, digest_of
from noiseflow.patches.checksums import content_checksum
from noiseflow.patches.schema import CONTENT, LABELS, PIXELS_OF, READABLE

__all__ = ["reseal"]


def reseal(box: Path, name: str) -> None:
    """Bring the checksums that protect a file of a folder up to its content, where its structure lets them be found."""
    path = box / name
    with contextlib.suppress(Exception):
        if path.suffix == ".h5":
            with h5py.File(path, "r+") as file:
                _body(file) if file.attrs.get("schema") == body_file.BODY_SCHEMA else _store(file)
        elif path.suffix == ".json" and MANIFEST not in [each.name for each in path.parent.iterdir()]:
            content = json.loads(path.read_text("utf-8"))
            if "sha256" in content:
                content["sha256"] = profile._checksum({key: content[key] for key in content if key != "sha256"})
                path.write_text(json.dumps(content), "utf-8")
    for listed in box.rglob(MANIFEST):
        with contextlib.suppress(Exception):
            _list(listed)


def _list(listed: Path) -> None:
    lines: list[dict[str, Any]] = [json.loads(line) for line in listed.read_text("utf-8").splitlines() if line]
    for line in lines:
        if "file" in line and (listed.parent / line["file"]).is_file():
            line["sha256"] = digest_of(listed.parent / line["file"])
    listed.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


def _body(file: h5py.File) -> None:
    if any(not isinstance(each, h5py.Dataset) or each.is_virtual or each.size > 1 << 20 for each in file.values()):
        return
    arrays = {name: np.asarray(file[name][...]) for name in file}
    file.attrs["content_blake3"] = body_file._checksum(arrays, str(file.attrs["facts"]))


def _store(file: h5py.File) -> None:
    # What claims a huge size, or is a part of itself, is not read here: its reader is to refuse it.
    if any(each.is_virtual or (each.size or 0) > 1 << 20 for each in file.values() if isinstance(each, h5py.Dataset)):
        return
    attributes = dict(file.attrs)
    schema = READABLE[int(attributes["schema"])]
    arrays: dict[str, Any] = {"table": file["table"][:]}
    for label in (*LABELS, schema.checksums, "scene_facts"):
        arrays[label] = tuple(each.decode() for each in file[label][:])
    if schema.shared:
        arrays["mean_crc"] = file["mean_crc"][:]
    pixels = {each: (file[each].dtype, file[each].shape) for each in PIXELS_OF if each in file}
    file.attrs[CONTENT] = content_checksum(attributes, arrays, pixels)
