"""What the name of a folder says of the frames in it."""

import re

__all__ = ["KINDS", "kind_of"]

KINDS = {
    "dark": {"dark", "darks", "darkframe", "darkframes", "bias", "biases"},
    "flat": {"flat", "flats", "flatfield", "flatfields", "flatframes"},
}
"""Words in a folder's name that say what its frames are."""


def kind_of(name: str) -> str:
    """Kind that a folder's name says: ``"dark"``, ``"flat"`` or none.

    >>> kind_of("ISO100_darks"), kind_of("darkroom")
    ('dark', '')
    """
    words = set(re.split(r"[^a-z]+", name.lower()))
    return next((kind for kind, names in KINDS.items() if words & names), "")
