"""Parse noiseflow's JSON and TOML files strictly.

Special files, files that are too large, text that is not UTF-8, values nested too deep and duplicate names in
a table are refused; in JSON also NaN and Infinity, which the format does not have.
"""

import json
import sys
from pathlib import Path
from typing import Any

from noiseflow.core.errors import NoiseflowError

__all__ = ["json_value", "read_json", "read_text", "read_toml"]

MOST_BYTES = 64 << 20
"""Default of the largest file that is read, in bytes; a report of thousands of scenes has a few MB."""

DEEPEST = 40
"""Deepest nesting of tables and lists that is accepted; noiseflow writes at most eight levels."""

Error = type[NoiseflowError]


def read_json(path: Path, what: str, error: Error, *, most: int = MOST_BYTES, constants: bool = False) -> Any:
    """Parse a JSON file.

    Parameters
    ----------
    path : Path
        File to read.
    what : str
        What was expected, for the error, such as ``"a camera profile"``.
    error : type
        Class of the error to raise.
    most : int
        Largest accepted size in bytes.
    constants : bool
        Whether NaN and Infinity are accepted as numbers.

    Raises
    ------
    NoiseflowError
        Of the class `error`, if the file is missing, unreadable, too large, or not valid JSON.
    """
    return json_value(read_text(path, what, error, most=most), str(path), what, error, constants=constants)


def json_value(text: str, source: str, what: str, error: Error, *, constants: bool = False) -> Any:
    """Parse JSON text; arguments as in `read_json`, with the name of the source for the error."""
    try:
        value = json.loads(text, object_pairs_hook=_table, parse_constant=float if constants else _no_constant)
        if "\\u" in text:
            # Refuse lone surrogates, which cannot be written to a file or terminal.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as reason:
        raise error(f"{source}: is not JSON ({_words(reason)}); expected {what}") from reason
    _check_depth(value, source, error)
    return value


def read_toml(path: Path, what: str, error: Error, *, most: int = MOST_BYTES) -> dict[str, Any]:
    """Parse a TOML file; arguments and errors as in `read_json`."""
    # Imported here because every command reads this module, and few read TOML.
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    text = read_text(path, what, error, most=most)
    try:
        table: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as reason:
        raise error(f"{path}: cannot be read as TOML ({_words(reason)}); expected {what}") from reason
    _check_depth(table, str(path), error)
    return table


def read_text(path: Path, what: str, error: Error, *, most: int = MOST_BYTES) -> str:
    """Read a text file; arguments and errors as in `read_json`."""
    if not path.exists():
        raise error(f"{path}: no such file; expected {what}")
    if not path.is_file():
        raise error(f"{path}: is not a regular file; expected {what}")
    try:
        if path.stat().st_size > most:
            raise error(f"{path}: has {path.stat().st_size:,} bytes; expected {what}, of at most {most:,}")
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as reason:
        raise error(f"{path}: is not text in UTF-8 ({reason.reason}); expected {what}") from reason
    except OSError as reason:
        raise error(f"{path}: cannot be read ({(reason.strerror or str(reason)).lower()})") from reason


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} occurs twice")
    return table


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not a JSON number")


def _words(reason: BaseException) -> str:
    return "nested too deep" if isinstance(reason, RecursionError) else str(reason)


def _check_depth(value: Any, source: str, error: Error) -> None:
    level, depth = [value] if isinstance(value, (dict, list)) else [], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise error(f"{source}: its values are nested too deep; expected at most {DEEPEST} levels")
        inner = [list(each.values()) if isinstance(each, dict) else each for each in level]
        level = [child for each in inner for child in each if isinstance(child, (dict, list))]
