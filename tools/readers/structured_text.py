"""Mutations of text, JSON and JSON lines: files that are well formed and lie."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["NUMBER", "TEXTS", "WORDS", "Rng", "of_json", "of_lines", "of_text", "one_of"]

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


def one_of(rng: Rng, values: Any) -> Any:
    """One of some values."""
    return values[int(rng.integers(0, len(values)))]


def of_text(path: Path, rng: Rng) -> None:
    """A number by 1 %, words for numbers, lines doubled and in another order, other encodings, marks of byte order."""
    text = path.read_text("utf-8")
    numbers, lines = list(NUMBER.finditer(text)), text.splitlines(keepends=True)
    how = int(rng.integers(0, 12))
    if how <= 2 and numbers:
        found = one_of(rng, numbers)
        new = repr(float(found[0]) * 1.01) if how < 2 else repr(float(found[0]) + 1)
        text = text[: found.start()] + new + text[found.end() :]
    elif how <= 4 and numbers:
        found = one_of(rng, numbers)
        text = text[: found.start()] + one_of(rng, WORDS) + text[found.end() :]
    elif how == 5 and len(numbers) > 1:
        one, other = sorted((one_of(rng, numbers), one_of(rng, numbers)), key=lambda each: each.start())
        if one is not other:
            between = text[one.end() : other.start()]
            text = text[: one.start()] + other[0] + between + one[0] + text[other.end() :]
    elif how == 6:
        lines.insert(int(rng.integers(0, len(lines) + 1)), one_of(rng, lines))
        text = "".join(lines)
    elif how == 7:
        text = "".join(lines[index] for index in rng.permutation(len(lines)))
    elif how == 8:
        path.write_bytes(b"\xef\xbb\xbf" + text.encode() if rng.random() < 0.5 else text.encode("utf-16"))
        return
    elif how == 9:
        data = bytearray(text.encode())
        at = int(rng.integers(0, max(len(data), 1)))
        data[at:at] = one_of(rng, (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\0", b"\x80\x80"))
        path.write_bytes(bytes(data))
        return
    elif how == 10:
        quoted = list(re.finditer(r'"[^"\n]*"', text))
        if quoted:
            found = one_of(rng, quoted)
            text = (
                text[: found.start()]
                + json.dumps(one_of(rng, TEXTS), ensure_ascii=bool(rng.random() < 0.5))
                + text[found.end() :]
            )
    else:
        text = text + one_of(rng, ("{}", "\n[x]\n", "\0", "null", text))
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
    table = one_of(rng, tables)
    name = one_of(rng, list(table))
    if how == 0:
        rest = ",".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in table.items())
        lie = json.dumps(one_of(rng, [table[one_of(rng, list(table))], 1, "x", None]))
        text = json.dumps(content).replace(json.dumps(table), f"{{{rest}, {json.dumps(name)}: {lie}}}", 1)
        path.write_text(text, "utf-8")
        return None
    if how == 1:
        other = one_of(rng, list(table))
        table[name], table[other] = table[other], table[name]
    elif how == 2:
        other = one_of(rng, tables)
        key = one_of(rng, list(other))
        table[name], other[key] = other[key], table[name]
    elif how == 3:
        for value in _inside(content):
            if isinstance(value, list) and len(value) > 1 and rng.random() < 0.5:
                value[:] = [value[index] for index in rng.permutation(len(value))]
    else:
        value = table[name]
        table[name] = one_of(
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
