"""Mutations that keep to a format's structure: files that are well formed and lie.

Each function takes the path of a file and a generator, and changes the file in place.
"""

import io
import json
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

__all__ = ["MUTATORS", "mutate"]

Rng = np.random.Generator

NUMBER = re.compile(r"(?<![\w.\"-])-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.\"])")
WORDS = (
    "NaN",
    "-Infinity",
    "1e999",
    "-1e999",
    "1e400",
    "1" + "0" * 400,
    "0x10",
    "1_000",
    "-0.0",
    "nan",
    "+inf",
    "true",
    "null",
    '"1"',
    "[]",
    "{}",
    "[" * 3000 + "]" * 3000,
    '{"a":' * 2000 + "1" + "}" * 2000,
    "00",
    "1.",
)
TEXTS = ("", "A\u0000B", "\u202eA", "a" * 200_000, "..", "../x", "/etc/passwd", "A\nB", "ß", "A ", "\ufeffA")


def _one(rng: Rng, values: Any) -> Any:
    return values[int(rng.integers(0, len(values)))]


def of_text(path: Path, rng: Rng) -> None:
    """A number by 1 %, words for numbers, lines doubled and in another order, other encodings, marks of byte order."""
    text = path.read_text("utf-8")
    numbers, lines = list(NUMBER.finditer(text)), text.splitlines(keepends=True)
    how = int(rng.integers(0, 12))
    if how <= 2 and numbers:
        found = _one(rng, numbers)
        new = repr(float(found[0]) * 1.01) if how < 2 else repr(float(found[0]) + 1)
        text = text[: found.start()] + new + text[found.end() :]
    elif how <= 4 and numbers:
        found = _one(rng, numbers)
        text = text[: found.start()] + _one(rng, WORDS) + text[found.end() :]
    elif how == 5 and len(numbers) > 1:
        one, other = sorted((_one(rng, numbers), _one(rng, numbers)), key=lambda each: each.start())
        if one is not other:
            between = text[one.end() : other.start()]
            text = text[: one.start()] + other[0] + between + one[0] + text[other.end() :]
    elif how == 6:
        lines.insert(int(rng.integers(0, len(lines) + 1)), _one(rng, lines))
        text = "".join(lines)
    elif how == 7:
        text = "".join(lines[index] for index in rng.permutation(len(lines)))
    elif how == 8:
        path.write_bytes(b"\xef\xbb\xbf" + text.encode() if rng.random() < 0.5 else text.encode("utf-16"))
        return
    elif how == 9:
        data = bytearray(text.encode())
        at = int(rng.integers(0, max(len(data), 1)))
        data[at:at] = _one(rng, (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\0", b"\x80\x80"))
        path.write_bytes(bytes(data))
        return
    elif how == 10:
        quoted = list(re.finditer(r'"[^"\n]*"', text))
        if quoted:
            found = _one(rng, quoted)
            text = (
                text[: found.start()]
                + json.dumps(_one(rng, TEXTS), ensure_ascii=bool(rng.random() < 0.5))
                + text[found.end() :]
            )
    else:
        text = text + _one(rng, ("{}", "\n[x]\n", "\0", "null", text))
    path.write_bytes(text.encode("utf-8", "surrogatepass"))


def of_json(path: Path, rng: Rng) -> None:
    """Names twice, values of other types, rows in another order, two values swapped; or as text."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError:
        return of_text(path, rng)
    tables = [each for each in _inside(content) if isinstance(each, dict) and each]
    how = int(rng.integers(0, 8))
    if how >= 5 or not tables:
        return of_text(path, rng)
    table = _one(rng, tables)
    name = _one(rng, list(table))
    if how == 0:
        rest = ",".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in table.items())
        lie = json.dumps(_one(rng, [table[_one(rng, list(table))], 1, "x", None]))
        text = json.dumps(content).replace(json.dumps(table), f"{{{rest}, {json.dumps(name)}: {lie}}}", 1)
        path.write_text(text, "utf-8")
        return None
    if how == 1:
        other = _one(rng, list(table))
        table[name], table[other] = table[other], table[name]
    elif how == 2:
        other = _one(rng, tables)
        key = _one(rng, list(other))
        table[name], other[key] = other[key], table[name]
    elif how == 3:
        for value in _inside(content):
            if isinstance(value, list) and len(value) > 1 and rng.random() < 0.5:
                value[:] = [value[index] for index in rng.permutation(len(value))]
    else:
        value = table[name]
        table[name] = _one(
            rng, [str(value), [value], {"value": value}, None, bool(value), float("nan"), -1, 10**30, 1e308, 0, ""]
        )
    path.write_text(json.dumps(content), "utf-8", errors="surrogatepass")
    return None


def _inside(value: Any) -> list[Any]:
    found = [value]
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        found += _inside(each)
    return found


def of_lines(path: Path, rng: Rng) -> None:
    """JSON lines: one of them as a JSON file, or all as text."""
    lines = path.read_text("utf-8").splitlines()
    at = int(rng.integers(0, len(lines)))
    if rng.random() < 0.3:
        return of_text(path, rng)
    part = path.with_name("line.json")
    part.write_text(lines[at], "utf-8")
    of_json(part, rng)
    data = [line.encode() for line in lines]
    data[at] = part.read_bytes()
    part.unlink()
    path.write_bytes(b"\n".join(data) + b"\n")
    return None


def of_safetensors(path: Path, rng: Rng) -> None:
    """A header that lies: places that overlap, other types and shapes, names swapped, tensors too many, remarks."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    names = [name for name in header if name != "__metadata__"]
    name, other = _one(rng, names), _one(rng, names)
    entry = header[name]
    how = int(rng.integers(0, 16))
    if how == 0:
        header[name], header[other] = header[other], header[name]
    elif how == 1:
        alike = [each for each in names if header[each]["shape"] == entry["shape"]]
        other = _one(rng, alike)
        header[name], header[other] = header[other], header[name]
    elif how == 2:
        entry["data_offsets"] = header[other]["data_offsets"]
    elif how == 3:
        entry["data_offsets"] = [int(value) + int(rng.integers(-9, 9)) for value in entry["data_offsets"]]
    elif how == 4:
        entry["dtype"] = _one(
            rng, ("F16", "BF16", "F64", "I32", "I64", "U8", "BOOL", "F8_E4M3", "U16", "X", "", 1, None)
        )
    elif how == 5:
        entry["shape"] = _one(
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
        header["__metadata__"] = _one(rng, ({"format": "np"}, {"a": 1}, [], "x", {"format": "pt", "x": "y" * 100_000}))
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
        path.write_bytes(struct.pack("<Q", _one(rng, (0, 1, 2**63, 2**64 - 1, length + 8, 10**9))) + data[8:])
        return
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(body))


def of_hdf5(path: Path, rng: Rng) -> None:
    """Datasets and attributes swapped, of other types, sizes and storage; values by 1 %; rows in another order."""
    with h5py.File(path, "r+") as file:
        # Nothing is read of what an earlier change made huge or a part of itself.
        names = [name for name in file if isinstance(file.get(name), h5py.Dataset) and _is_small(file[name])]
        name, other = _one(rng, names), _one(rng, names)
        how = int(rng.integers(0, 14))
        if how == 0:
            alike = [each for each in names if file[each].shape == file[name].shape]
            other = _one(rng, alike)
            if other != name:
                file.move(name, "aside")
                file.move(other, name)
                file.move("aside", other)
        elif how == 1:
            _again(file, name, _one(rng, (np.float64, np.int64, np.float32, np.uint8, ">u2", "S8", "c8", bool)))
        elif how == 2:
            _attributes(file, name, rng)
        elif how == 3:
            _attributes(file, None, rng)
        elif how in (4, 5):
            _values(file[name], rng)
        elif how == 6:
            values = file[name][()]
            if np.ndim(values):
                file[name][...] = values[rng.permutation(len(values))]
        elif how == 7:
            del file[name]
        elif how == 8:
            kept = file[name]
            dtype, shape = kept.dtype, kept.shape
            huge = _one(
                rng, ((2**40, *shape[1:]), (2**31, *shape[1:]), (0, *shape[1:]), shape[:-1] or (1,), (*shape, 1))
            )
            del file[name]
            file.create_dataset(name, shape=huge, dtype=dtype)
        elif how == 9:
            values = file[name][()]
            kept_attributes = dict(file[name].attrs)
            del file[name]
            if np.ndim(values):
                file.create_dataset(name, data=values, chunks=True, compression="gzip")
            else:
                file.create_dataset(name, data=values)
            file[name].attrs.update(kept_attributes)
        elif how == 10:
            del file[name]
            file[name] = _one(
                rng, (h5py.SoftLink(f"/{other}"), h5py.ExternalLink("/etc/hosts", "/x"), h5py.SoftLink("/"))
            )
        elif how == 11:
            del file[name]
            file.create_group(name)
        elif how == 12:
            file.create_dataset(
                _one(rng, ("extra", "mask", "mean", "clean", "gain", "mosaic")) + _one(rng, ("", "_")), data=np.zeros(3)
            )
        else:
            shape, dtype = file[name].shape, file[name].dtype
            del file[name]
            if shape and dtype.kind in "uif":
                layout = h5py.VirtualLayout(shape=shape, dtype=dtype)
                layout[...] = h5py.VirtualSource(str(path), other, shape=shape)
                file.create_virtual_dataset(name, layout)
            else:
                file[name] = np.zeros(shape, np.float32)


def _is_small(dataset: h5py.Dataset) -> bool:
    return not dataset.is_virtual and dataset.size is not None and dataset.size < 1 << 20


def _again(file: h5py.File, name: str, dtype: Any) -> None:
    kept = dict(file[name].attrs)
    values = file[name][()]
    try:
        values = np.asarray(values).astype(dtype)
    except (TypeError, ValueError):
        return
    del file[name]
    file[name] = values
    file[name].attrs.update(kept)


def _attributes(file: h5py.File, name: str | None, rng: Rng) -> None:
    place = file if name is None or not len(file[name].attrs) else file[name]
    keys = list(place.attrs)
    if not keys:
        return
    key, other = _one(rng, keys), _one(rng, keys)
    value = place.attrs[key]
    how = int(rng.integers(0, 6))
    if how == 0:
        place.attrs[key], place.attrs[other] = place.attrs[other], value
    elif how == 1:
        del place.attrs[key]
    elif how == 2 and np.issubdtype(np.asarray(value).dtype, np.number):
        place.attrs[key] = np.asarray(value) * 1.01
    elif how == 3 and isinstance(value, str):
        try:
            content = json.loads(value)
        except ValueError:
            place.attrs[key] = _one(rng, [*TEXTS[2:3], value + "x", value.upper(), value[:-1]])
            return
        numbers = list(NUMBER.finditer(value))
        if numbers and rng.random() < 0.7:
            found = _one(rng, numbers)
            new = _one(rng, (repr(float(found[0]) * 1.01), *WORDS[:6], *WORDS[15:18]))
            place.attrs[key] = (value[: found.start()] + new + value[found.end() :])[:60_000]
        else:
            place.attrs[key] = json.dumps([content])
    else:
        place.attrs[key] = _one(rng, (1, 1.5, "x", np.zeros(3), np.zeros(0), np.bytes_(b"\xff\xfe"), np.nan, 2**62))


def _values(dataset: h5py.Dataset, rng: Rng) -> None:
    """One value by 1 %, or a field of one row, or two rows' field swapped, or a name changed."""
    values = dataset[()]
    if not np.ndim(values) or not np.size(values):
        return
    if dataset.dtype.names:
        field = _one(rng, dataset.dtype.names)
        one, other = int(rng.integers(0, len(values))), int(rng.integers(0, len(values)))
        if rng.random() < 0.5:
            values[field][[one, other]] = values[field][[other, one]]
        else:
            old = values[field][one]
            values[field][one] = np.asarray(old * 1.01 if values[field].dtype.kind == "f" else old + 1).astype(
                values[field].dtype
            )
    elif dataset.dtype.kind == "O":
        at = int(rng.integers(0, len(values)))
        values[at] = _one(rng, (values[at] + b"x", b"", values[-1 - at], values[at].upper()))
    else:
        flat = values.reshape(-1)
        at = int(rng.integers(0, flat.size))
        if values.dtype.kind == "f":
            flat[at] = _one(rng, (flat[at] * 1.01, np.nan, np.inf))
        else:
            flat[at] ^= np.asarray(1).astype(flat.dtype)
    dataset[...] = values


def of_npz(path: Path, rng: Rng) -> None:
    """Arrays swapped, of other types and shapes, too many, of objects, or of a size that they have not."""
    with np.load(path, allow_pickle=False) as loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    names = list(arrays)
    name, other = _one(rng, names), _one(rng, names)
    how = int(rng.integers(0, 9))
    if how == 0:
        arrays[name], arrays[other] = arrays[other], arrays[name]
    elif how == 1:
        arrays[name] = arrays[name].astype(_one(rng, (np.float64, np.float16, np.int64, "c8", "S4", bool)))
    elif how == 2:
        arrays[name] = arrays[name].T if arrays[name].ndim > 1 else arrays[name].reshape(-1, 1)
    elif how == 3:
        values = np.array(arrays[name], copy=True)
        if values.size:
            values.reshape(-1)[int(rng.integers(0, values.size))] *= _one(rng, (1.01, np.nan, np.inf, 1e30))
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
