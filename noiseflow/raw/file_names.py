"""ISO and exposure time in the name of a file or of its folder."""

import re
from pathlib import Path

__all__ = ["named_exposure_s", "named_iso", "without_settings"]

ISO = re.compile(r"(?<![a-z])iso[\s_=-]*(\d{1,7})(?!\d)", re.IGNORECASE)
EXPOSURE = re.compile(
    r"(?<![\d.,a-z])(?:(?P<over>1)[/_-](?P<under>\d+)|(?P<number>\d+(?:[.,]\d+)?))[\s_]?(?P<unit>us|µs|ms|sec|s)(?![a-z\d])",
    re.IGNORECASE,
)
SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0}


def named_iso(path: Path) -> tuple[float | None, str]:
    """ISO that a file's name says, or else its folder's; and that name.

    >>> named_iso(Path("darks/ISO800_10ms.tif"))
    (800.0, 'ISO800_10ms')
    """
    for name in (path.stem, path.parent.name):
        found = set(ISO.findall(name))
        if len(found) == 1 and (iso := float(found.pop())) > 0:
            return iso, name
    return None, ""


def named_exposure_s(path: Path) -> tuple[float | None, str]:
    """Exposure time in seconds that a file's name says, or else its folder's; and that name.

    >>> named_exposure_s(Path("10003_00_0.04s.ARW"))
    (0.04, '10003_00_0.04s')
    """
    for name in (path.stem, path.parent.name):
        found = {match.group(0): match for match in EXPOSURE.finditer(name)}
        if len(found) == 1:
            ((_, match),) = found.items()
            value = 1 / float(match["under"]) if match["over"] and float(match["under"]) else 0.0
            if match["number"]:
                value = float(match["number"].replace(",", "."))
            return value * SECONDS[match["unit"].lower()], name
    return None, ""


def without_settings(name: str) -> str:
    """A name without the ISO and the exposure time in it.

    >>> without_settings("10003_00_0.04s"), without_settings("desk_ISO800_1")
    ('10003_00_', 'desk__1')
    """
    return ISO.sub("", EXPOSURE.sub("", name))
