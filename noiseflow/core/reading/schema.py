"""Schemas of noiseflow's JSON and TOML files.

A schema is built from `Number`, `Text`, `Flag`, `Choice`, `ListOf`, `Table`, `MapOf`, `Maybe` and `Plain`.  `checked`
compares a value with it and names the place of the first mismatch.  jsonschema, pydantic and msgspec could do
this too, but each would be another dependency, and the first two take as long to import as the command line.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from noiseflow.core.errors import NoiseflowError

__all__ = [
    "Choice",
    "Flag",
    "ListOf",
    "MapOf",
    "Maybe",
    "Number",
    "Plain",
    "Schema",
    "Table",
    "Text",
    "built",
    "checked",
]

Built = TypeVar("Built")

LARGEST = 1e300
"""Default bound of numbers; no value of noiseflow comes near it."""


class MismatchError(Exception):
    """A value does not match its schema.

    Parameters
    ----------
    place : str
        Place in the file: names and indices.
    found : str
        Description of the value.
    expected : str
        Description of what the schema requires.
    """

    def __init__(self, place: str, found: str, expected: str) -> None:
        # Names come from the file, so replace characters that would break the line.
        words = f"{place or 'it'}: expected {expected}; got {found}"
        super().__init__("".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in words))


@dataclass(frozen=True)
class Schema:
    """Base class of schemas."""

    def check(self, value: Any, place: str) -> None:
        """Raise `MismatchError` unless the value at a place matches."""
        raise NotImplementedError


@dataclass(frozen=True)
class Number(Schema):
    """A finite number.

    Parameters
    ----------
    low, high : float
        Smallest and largest value.
    whole : bool
        Whether the number must be an integer.
    above : bool
        Whether the number must be greater than `low`.
    nan : bool
        Whether NaN is allowed, for values that were not measured.
    """

    low: float = -LARGEST
    high: float = LARGEST
    whole: bool = False
    above: bool = False
    nan: bool = False

    def check(self, value: Any, place: str) -> None:
        """Raise `MismatchError` unless the value is such a number."""
        kind = int if self.whole else (int, float)
        fits = isinstance(value, kind) and not isinstance(value, bool)
        if self.nan and isinstance(value, float) and math.isnan(value):
            return
        if not fits or not self.low <= value <= self.high or (self.above and value == self.low):
            what = "a whole number" if self.whole else "a finite number"
            bounds = [f"above {self.low:g}" if self.above else f"at least {self.low:g}"] if self.low > -LARGEST else []
            bounds += [f"at most {self.high:g}"] if self.high < LARGEST else []
            raise MismatchError(place, _shown(value), what + (f", {' and '.join(bounds)}" if bounds else ""))


@dataclass(frozen=True)
class Text(Schema):
    """A text.

    Parameters
    ----------
    longest : int
        Largest number of characters.
    shortest : int
        Smallest number of characters.
    pattern : str
        Regular expression that the whole text must match; empty for any text.
    """

    longest: int = 100_000
    shortest: int = 0
    pattern: str = ""

    def check(self, value: Any, place: str) -> None:
        """Raise `MismatchError` unless the value is such a text."""
        if not isinstance(value, str) or not self.shortest <= len(value) <= self.longest:
            raise MismatchError(place, _shown(value), f"a text of {self.shortest} to {self.longest:,} characters")
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise MismatchError(place, _shown(value), f"a text of the form {self.pattern}")


@dataclass(frozen=True)
class Flag(Schema):
    """True or false."""

    def check(self, value: Any, place: str) -> None:
        """Raise `MismatchError` unless the value is true or false."""
        if not isinstance(value, bool):
            raise MismatchError(place, _shown(value), "true or false")


@dataclass(frozen=True)
class Choice(Schema):
    """One of several values.

    Parameters
    ----------
    values : tuple
        Allowed values; the type must match too.
    """

    values: tuple[Any, ...]

    def check(self, value: Any, place: str) -> None:
        """Raise `MismatchError` unless the value is one of them."""
        if not any(type(value) is type(each) and value == each for each in self.values):
            raise MismatchError(place, _shown(value), " or ".join(map(repr, self.values)))


@dataclass(frozen=True)
class Maybe(Schema):
    """A value, or null.

    Parameters
    ----------
    of : Schema
        Schema of the value.
    """

    of: Schema

    def check(self, value: Any, place: str) -> None:
        """Raise `MismatchError` unless the value is null or matches."""
        if value is not None:
            self.of.check(value, place)


@dataclass(frozen=True)
class ListOf(Schema):
    """A list of values with one schema.

    Parameters
    ----------
    of : Schema
        Schema of each value.
    shortest, longest : int
        Smallest and largest number of values.
    """

    of: Schema
    shortest: int = 0
    longest: int = 10_000_000

    def check(self, value: Any, place: str) -> None:
        """Raise `MismatchError` unless the value is such a list."""
        if not isinstance(value, (list, tuple)) or not self.shortest <= len(value) <= self.longest:
            raise MismatchError(place, _shown(value), f"a list of {self.shortest} to {self.longest:,} values")
        for index, each in enumerate(value):
            self.of.check(each, f"{place}[{index}]")


@dataclass(frozen=True)
class Table(Schema):
    """A table with known names.

    Parameters
    ----------
    fields : mapping of str to Schema
        Required names, and the schemas of their values.
    optional : mapping of str to Schema
        Optional names, and the schemas of their values.
    others : bool
        Whether other names are allowed, with `Plain` values, for files of later versions.
    """

    fields: Mapping[str, Schema]
    optional: Mapping[str, Schema] = field(default_factory=dict)
    others: bool = False

    def check(self, value: Any, place: str) -> None:
        """Raise `MismatchError` unless it is such a table."""
        if not isinstance(value, dict):
            raise MismatchError(place, _shown(value), "a table")
        known = {**self.fields, **self.optional}
        for name in self.fields:
            if name not in value:
                raise MismatchError(place, f"only {_names(value)}", f"an entry {name!r}")
        for name, each in value.items():
            if name not in known and not self.others:
                raise MismatchError(place, repr(name)[:80], f"only {_names(known)}")
            known.get(name, PLAIN).check(each, f"{place}.{name}" if place else str(name))


@dataclass(frozen=True)
class MapOf(Schema):
    """A table with any names, whose values have one schema.

    Parameters
    ----------
    of : Schema
        Schema of each value.
    """

    of: Schema

    def check(self, value: Any, place: str) -> None:
        """Raise `MismatchError` unless the value is such a table."""
        if not isinstance(value, dict):
            raise MismatchError(place, _shown(value), "a table")
        for name, each in value.items():
            self.of.check(each, f"{place}.{str(name)[:80]}" if place else str(name)[:80])


@dataclass(frozen=True)
class Plain(Schema):
    """Any value whose numbers are finite, for remarks that have no effect."""

    def check(self, value: Any, place: str) -> None:
        """Raise `MismatchError` if a number in the value is not finite."""
        if isinstance(value, dict):
            MapOf(self).check(value, place)
        elif isinstance(value, (list, tuple)):
            ListOf(self).check(value, place)
        elif isinstance(value, float) and not math.isfinite(value):
            raise MismatchError(place, _shown(value), "a finite number")


PLAIN = Plain()


def checked(value: Any, schema: Schema, source: str, error: type[NoiseflowError], what: str = "") -> Any:
    """Check a value against a schema, and return it.

    Parameters
    ----------
    value : any
        Parsed JSON or TOML.
    schema : Schema
        The schema.
    source : str
        Name of the file, for the error.
    error : type
        Class of the error to raise.
    what : str
        What to do, or what the file should be, for the end of the message.

    Raises
    ------
    NoiseflowError
        Of the class `error`, with the place of the first value that does not match.
    """
    try:
        schema.check(value, "")
    except MismatchError as mismatch:
        raise error(f"{source}: {mismatch}{what and f'; {what}'}") from mismatch
    return value


def _shown(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return f"a {'table' if isinstance(value, dict) else 'list'} of {len(value):,}"
    if isinstance(value, int) and abs(value) >= 10**20:
        return "an integer of more than 20 digits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _names(table: Mapping[Any, Any]) -> str:
    names = [str(name)[:40] for name in table]
    return ", ".join(names[:12]) + (" …" if len(names) > 12 else "") if names else "nothing"


SIMPLE: dict[str, type | tuple[type, ...]] = {
    "int": int,
    "float": (int, float),
    "str": str,
    "bool": bool,
    "None": type(None),
}
"""Types of dataclass fields that `built` checks; the dataclass must check fields of other types itself."""


def built(kind: type[Built], values: Mapping[str, Any], where: str, error: type[NoiseflowError]) -> Built:
    """Build a dataclass from a table in a file, after checking names and simple types.

    Parameters
    ----------
    kind : type
        The dataclass.
    values : mapping
        Name of a field → its value.
    where : str
        Place in the file, for the error.
    error : type
        Class of the error to raise.

    Raises
    ------
    NoiseflowError
        Of the class `error`, if a name is unknown or a value has the wrong type; or what the dataclass raises.
    """
    known = {each.name: str(getattr(each.type, "__name__", each.type)) for each in fields(kind)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in known:
            raise error(f"{where}: {name!r} is not known; expected only {', '.join(sorted(known))}")
        kinds = [each.strip() for each in known[name].split("|")]
        if all(each in SIMPLE for each in kinds):
            fits = any(isinstance(value, SIMPLE[each]) for each in kinds)
            if not fits or (isinstance(value, bool) and "bool" not in kinds):
                raise error(f"{where}: {name}: expected {known[name]}; got {_shown(value)}")
    try:
        return kind(**values)
    except (TypeError, ValueError) as reason:
        raise error(f"{where}: {reason}") from reason
