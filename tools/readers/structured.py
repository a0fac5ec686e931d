"""Mutations that keep to a format's structure: files that are well formed and lie.

Each function takes the path of a file and a generator, and changes the file in place.
"""

import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from tools.readers.structured_hdf5 import of_hdf5
from tools.readers.structured_text import Rng, of_json, of_lines, of_text, one_of

__all__ = ["MUTATORS", "mutate"]


def of_safetensors(path: Path, rng: Rng) -> None:
    """A header that lies: places that overlap, other types and shapes, names swapped, tensors too many, remarks."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    names = [name for name in header if name != "__metadata__"]
    name, other = one_of(rng, names), one_of(rng, names)
    entry = header[name]
    how = int(rng.integers(0, 16))
    if how == 0:
        header[name], header[other] = header[other], header[name]
    elif how == 1:
        alike = [each for each in names if header[each]["shape"] == entry["shape"]]
        other = one_of(rng, alike)
        header[name], header[other] = header[other], header[name]
    elif how == 2:
        entry["data_offsets"] = header[other]["data_offsets"]
    elif how == 3:
        entry["data_offsets"] = [int(value) + int(rng.integers(-9, 9)) for value in entry["data_offsets"]]
    elif how == 4:
        entry["dtype"] = one_of(
            rng, ("F16", "BF16", "F64", "I32", "I64", "U8", "BOOL", "F8_E4M3", "U16", "X", "", 1, None)
        )
    elif how == 5:
        entry["shape"] = one_of(
            rng,
            (entry["shape"][::-1], [*entry["shape"], 1], [1, *entry["shape"]], [], [0], [2**32, 2**32], [-1], [1.5]),
        )
    elif how == 6:
        header["extra"] = {"dtype": "F32", "shape": [1], "data_offsets": [len(body), len(body) + 4]}
        body += b"\0\0\0\0"
    elif how == 7:
        header[f"{name}_"] = header.pop(name)
    elif how == 8:
        del header[name]
    elif how == 9:
        header["__metadata__"] = one_of(
            rng, ({"format": "np"}, {"a": 1}, [], "x", {"format": "pt", "x": "y" * 100_000})
        )
    elif how in (10, 11, 12, 13) and entry["dtype"] in ("F32", "F64"):
        kind = np.dtype("<f4" if entry["dtype"] == "F32" else "<f8")
        start, end = entry["data_offsets"]
        values = np.frombuffer(bytes(body[start:end]), kind).copy()
        if values.size:
            at = int(rng.integers(0, values.size))
            values[at] = (values[at] * 1.01, np.nan, np.inf, 1e30)[how - 10]
            body[start:end] = values.tobytes()
    elif how == 14:
        text = json.dumps(header)
        text = text[:-1] + f", {json.dumps(name)}: {json.dumps(header[other])}}}"
        path.write_bytes(struct.pack("<Q", len(text.encode())) + text.encode() + bytes(body))
        return
    else:
        path.write_bytes(struct.pack("<Q", one_of(rng, (0, 1, 2**63, 2**64 - 1, length + 8, 10**9))) + data[8:])
        return
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(body))


def of_npz(path: Path, rng: Rng) -> None:
    """Arrays swapped, of other types and shapes, too many, of objects, or of a size that they have not."""
    with np.load(path, allow_pickle=False) as loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    names = list(arrays)
    name, other = one_of(rng, names), one_of(rng, names)
    how = int(rng.integers(0, 9))
    if how == 0:
        arrays[name], arrays[other] = arrays[other], arrays[name]
    elif how == 1:
        arrays[name] = arrays[name].astype(one_of(rng, (np.float64, np.float16, np.int64, "c8", "S4", bool)))
    elif how == 2:
        arrays[name] = arrays[name].T if arrays[name].ndim > 1 else arrays[name].reshape(-1, 1)
    elif how == 3:
        values = np.array(arrays[name], copy=True)
        if values.size:
            values.reshape(-1)[int(rng.integers(0, values.size))] *= one_of(rng, (1.01, np.nan, np.inf, 1e30))
        arrays[name] = values
    elif how == 4:
        del arrays[name]
    elif how == 5:
        arrays["extra"] = np.zeros(3)
    elif how == 6:
        arrays[name] = np.zeros(0, arrays[name].dtype)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for each, values in arrays.items():
            part = io.BytesIO()
            np.save(part, values, allow_pickle=True)
            data = part.getvalue()
            if each == name and how == 7:
                shape = str(values.shape)
                data = data.replace(shape.encode(), b"(99999999999,)".ljust(len(shape))[: max(len(shape), 14)], 1)
            archive.writestr(f"{each}.npy", data)
            if each == name and how == 8:
                archive.writestr(f"{other}.npy", data)
    path.write_bytes(content.getvalue())


def of_tar(path: Path, rng: Rng) -> None:
    """Members in another order, renamed, or one twice."""
    with tarfile.open(path) as shard:
        members = [(member.name, shard.extractfile(member).read()) for member in shard]  # type: ignore[union-attr]
    how = int(rng.integers(0, 3))
    if how == 0:
        members = [members[index] for index in rng.permutation(len(members))]
    elif how == 1:
        members[0] = ("../out", members[0][1])
    else:
        members.append(members[0])
    with tarfile.open(path, "w") as shard:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))


def of_bytes(path: Path, rng: Rng) -> None:
    """A run of bytes taken out, doubled or exchanged for another."""
    data = bytearray(path.read_bytes())
    length = int(rng.integers(1, 33))
    one, other = (int(rng.integers(0, max(len(data) - length, 1))) for _ in range(2))
    how = int(rng.integers(0, 3))
    if how == 0:
        del data[one : one + length]
    elif how == 1:
        data[one:one] = data[other : other + length]
    else:
        data[one : one + length], data[other : other + length] = data[other : other + length], data[one : one + length]
    path.write_bytes(bytes(data))


MUTATORS: Mapping[str, Callable[[Path, Rng], None]] = {
    ".json": of_json,
    ".noiseflow": of_lines,
    ".toml": of_text,
    ".csv": of_text,
    ".txt": of_text,
    ".safetensors": of_safetensors,
    ".h5": of_hdf5,
    ".npz": of_npz,
    ".tar": of_tar,
    ".onnx": of_bytes,
    ".pt2": of_bytes,
}
"""Mutator by suffix, or by the name of a file that has none."""


def mutate(path: Path, rng: Rng) -> None:
    """Change a file one to three times; what its structure can no longer be read from stays as it is."""
    mutator = MUTATORS[path.suffix or path.name]
    for number in range(int(rng.integers(1, 3))):
        before = path.read_bytes()
        try:
            mutator(path, rng)
        except Exception:
            path.write_bytes(before)
            if not number:
                of_bytes(path, rng)
