"""`Registry`: a table of names whose entries are imported on first use."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Generic, TypeVar, cast

__all__ = ["Registry"]

Entry = TypeVar("Entry")


class Registry(Mapping[str, Entry], Generic[Entry]):
    """A mapping from names to entries, which are imported on first use.

    Adding an entry takes one file and one line, and a command can list the names without importing torch.

    Parameters
    ----------
    where : mapping of str to str
        Name → module and attribute, such as ``"noiseflow.patches.pairings.flat:FLAT"``.

    Examples
    --------
    >>> units = Registry[str]({"signal": "noiseflow.core.units:SIGNAL_UNIT"})
    >>> list(units), units["signal"]
    (['signal'], '(DN - black) / (white - black)')
    """

    def __init__(self, where: Mapping[str, str]) -> None:
        self._where = dict(where)
        self._entries: dict[str, Entry] = {}

    def __getitem__(self, name: str) -> Entry:
        """Entry of a name; imports it if necessary."""
        if name not in self._entries:
            module, attribute = self._where[name].split(":")
            self._entries[name] = cast(Entry, getattr(import_module(module), attribute))
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        """Whether a name is known; its entry is not imported."""
        return name in self._where

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in their order."""
        return iter(self._where)

    def __len__(self) -> int:
        """Number of names."""
        return len(self._where)
