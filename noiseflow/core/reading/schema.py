"""Schemas of our JSON and TOML files: what a value may be, written down beside the format.

A schema is one of `Number`, `Text`, `Flag`, `Choice`, `ListOf`, `Table`, `MapOf`, `Maybe` and `Plain`, which hold
each other.  `checked` compares a value with it and names the place of what does not fit.  jsonschema, pydantic and
msgspec do as much; each would be one more dependency, and the first two take as long to import as the command line.
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
"""Largest number that may stand where a schema says no other: none of ours comes near it."""


class MismatchError(Exception):
    """A value that does not fit.

    Parameters
    ----------
    place : str
        Where in the file: names and indices.
    found : str
        What stands there.
    expected : str
        What should.
    """

    def __init__(self, place: str, found: str, expected: str) -> None:
        # Names come from the file: a message is one line, whatever they hold.
        words = f"{place or 'it'}: expected {expected}; got {found}"
        super().__init__("".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in words))


@dataclass(frozen=True)
class Schema:
    """What a value may be."""

    def check(self, value: Any, place: str) -> None:
        """Raise `MismatchError` unless a value fits."""
        raise NotImplementedError


@dataclass(frozen=True)
class Number(Schema):
    """A finite number.

    Parameters
    ----------
    low, high : float
        Range, both ends included.
    whole : bool
        Whether it must be an integer.
    above : bool
        Whether `low` itself is left out.
    nan : bool
        Whether it may be NaN: what was not measured.
    """

    low: float = -LARGEST
    high: float = LARGEST
    whole: bool = False
    above: bool = False
    nan: bool = False

    def check(self, value: Any, place: str) -> None:
        """Raise `MismatchError` unless it is such a number."""
        kind = int if self.whole else (int, float)
        fits = isinstance(value, kind) and not isinstance(value, bool)
        if self.nan and isinstance(value, float) and math.isnan(value):
            return
        if not fits or not self.low <= value <= self.high or (self.above and value == self.low):
            what = "a whole number" if self.whole else "a finite number"
            span = f" above {self.low:g}" if self.above else f" from {self.low:g} on" if self.low > -LARGEST else ""
            raise MismatchError(
                place, _shown(value), what + span + (f" to {self.high:g}" if self.high < LARGEST else "")
            )


@dataclass(frozen=True)
class Text(Schema):
    """A text.

    Parameters
    ----------
    longest : int
        Most characters.
    shortest : int
        Fewest characters.
    pattern : str
        Regular expression that it must match as a whole; any text if empty.
    """

    longest: int = 100_000
    shortest: int = 0
    pattern: str = ""

    def check(self, value: Any, place: str) -> None:
        """Raise `MismatchError` unless it is such a text."""
        if not isinstance(value, str) or not self.shortest <= len(value) <= self.longest:
            raise MismatchError(place, _shown(value), f"a text of {self.shortest} to {self.longest:,} characters")
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise MismatchError(place, _shown(value), f"a text of the form {self.pattern}")


@dataclass(frozen=True)
class Flag(Schema):
    """True or false."""

    def check(self, value: Any, place: str) -> None:
        """Raise `MismatchError` unless it is one of the two."""
        if not isinstance(value, bool):
            raise MismatchError(place, _shown(value), "true or false")


@dataclass(frozen=True)
class Choice(Schema):
    """One of some values, of the same type too."""

    values: tuple[Any, ...]

    def check(self, value: Any, place: str) -> None:
        """Raise `MismatchError` unless it is one of them."""
        if not any(type(value) is type(each) and value == each for each in self.values):
            raise MismatchError(place, _shown(value), " or ".join(map(repr, self.values)))


@dataclass(frozen=True)
class Maybe(Schema):
    """A value, or null."""

    of: Schema

    def check(self, value: Any, place: str) -> None:
        """Raise `MismatchError` unless it is null or fits."""
        if value is not None:
            self.of.check(value, place)


@dataclass(frozen=True)
class ListOf(Schema):
    """A list of values of one kind.

    Parameters
    ----------
    of : Schema
        Schema of each value.
    shortest, longest : int
        Fewest and most values.
    """

    of: Schema
    shortest: int = 0
    longest: int = 10_000_000

    def check(self, value: Any, place: str) -> None:
        """Raise `MismatchError` unless it is such a list."""
        if not isinstance(value, (list, tuple)) or not self.shortest <= len(value) <= self.longest:
            raise MismatchError(place, _shown(value), f"a list of {self.shortest} to {self.longest:,} values")
        for index, each in enumerate(value):
            self.of.check(each, f"{place}[{index}]")


@dataclass(frozen=True)
class Table(Schema):
    """A table of known names.

    Parameters
    ----------
    fields : mapping of str to Schema
        Names that must be there.
    optional : mapping of str to Schema
        Names that may be there.
    others : bool
        Whether any other names may be there, with `Plain` values: of later versions.
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
    """A table of any names, with values of one kind."""

    of: Schema

    def check(self, value: Any, place: str) -> None:
        """Raise `MismatchError` unless it is such a table."""
        if not isinstance(value, dict):
            raise MismatchError(place, _shown(value), "a table")
        for name, each in value.items():
            self.of.check(each, f"{place}.{str(name)[:80]}" if place else str(name)[:80])


@dataclass(frozen=True)
class Plain(Schema):
    """Any value whose numbers are finite: remarks, which decide nothing."""

    def check(self, value: Any, place: str) -> None:
        """Raise `MismatchError` if a number in it is not finite."""
        if isinstance(value, dict):
            MapOf(self).check(value, place)
        elif isinstance(value, (list, tuple)):
            ListOf(self).check(value, place)
        elif isinstance(value, float) and not math.isfinite(value):
            raise MismatchError(place, _shown(value), "a finite number")


PLAIN = Plain()


def checked(value: Any, schema: Schema, source: str, error: type[NoiseflowError], what: str = "") -> Any:
    """The value, once it fits a schema.

    Parameters
    ----------
    value : any
        Parsed JSON or TOML.
    schema : Schema
        What it must be.
    source : str
        Name of the file, for the error.
    error : type
        Class of the error.
    what : str
        What to do, or what the file should be, for the end of the message.

    Raises
    ------
    NoiseflowError
        Of the class `error`, with the place of the first value that does not fit.
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
"""Types of dataclass fields that are compared; fields of other types check themselves."""


def built(kind: type[Built], values: Mapping[str, Any], where: str, error: type[NoiseflowError]) -> Built:
    """A dataclass of settings from a table of a file, once its names and simple types fit.

    Parameters
    ----------
    kind : type
        Dataclass whose annotations are texts.
    values : mapping
        Settings by name.
    where : str
        Place in the file, for the error.
    error : type
        Class of the error.

    Raises
    ------
    NoiseflowError
        Of the class `error`: an unknown name, or a value of another type; or what the dataclass raises itself.
    """
    known = {each.name: str(getattr(each.type, "__name__", each.type)) for each in fields(kind)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in known:
            raise error(f"{where}: {name!r} is not known; expected some of {', '.join(sorted(known))}")
        kinds = [each.strip() for each in known[name].split("|")]
        if all(each in SIMPLE for each in kinds):
            fits = any(isinstance(value, SIMPLE[each]) for each in kinds)
            if not fits or (isinstance(value, bool) and "bool" not in kinds):
                raise error(f"{where}: {name}: expected {known[name]}; got {_shown(value)}")
    try:
        return kind(**values)
    except (TypeError, ValueError) as reason:
        raise error(f"{where}: {reason}") from reason
