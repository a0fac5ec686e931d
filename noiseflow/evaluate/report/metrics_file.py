"""Reading the file ``metrics.json`` of a report, and its schema."""

from pathlib import Path
from typing import Any

from noiseflow.core.errors import DataError
from noiseflow.core.output.verified import check_file
from noiseflow.core.reading.schema import Choice, Flag, ListOf, MapOf, Maybe, Number, Table, Text, checked
from noiseflow.core.reading.text import read_json

__all__ = ["METRICS", "read_metrics"]

METRICS = "metrics.json"
FORMAT = 2
WHAT = "a report of `noiseflow evaluate`"

NAME = Text(1000)
COUNT = Number(0, 2**53, whole=True)

INTERVAL = Maybe(
    Table(
        {
            "value": Maybe(Number()),
            "standard_error": Maybe(Number(0)),
            "low": Maybe(Number()),
            "high": Maybe(Number()),
            "groups": COUNT,
        },
        others=True,
    )
)
BY_MODEL = MapOf(INTERVAL)


def _cells(*names: str) -> ListOf:
    return ListOf(Table(dict.fromkeys(names, BY_MODEL), others=True), 1)


SCORES = Table(
    {
        "likelihood": Table(
            {
                "cells": _cells("nats_per_dim", "nats_per_pixel_dn"),
                "group_nats": MapOf(ListOf(Maybe(Number()))),
                "group_dims": ListOf(Number(0)),
            },
            others=True,
        ),
        "codes": Table({"coarse": Flag(), "cells": _cells("nats_per_pixel")}, others=True),
        "marginal": Table({"cells": _cells("kl_interval", "variance_ratio")}, others=True),
        "tails": Table({"kurtosis": BY_MODEL}, others=True),
        "two_sample": Table({"accuracy": BY_MODEL}, others=True),
    },
    others=True,
)
"""Schema of the scores that `compare` uses; other fields are not checked."""

FINDING = Table({"measure": NAME, "level": Choice(("good", "open", "bad")), "text": Text()}, others=True)

DATA = Table(
    {"fingerprint": NAME, "split": NAME, "patches": COUNT, "patches_in_split": COUNT, "store": Text()}, others=True
)

REPORT = Table(
    {
        "format": Choice((FORMAT,)),
        "data": DATA,
        "seed": COUNT,
        "models": ListOf(NAME, 1, 10_000),
        "findings": ListOf(FINDING),
        "headline": Text(),
        "scores": SCORES,
    },
    others=True,
)


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read the ``metrics.json`` of a report folder.

    Parameters
    ----------
    folder : Path
        The report folder.

    Returns
    -------
    dict
        Content of the file.

    Raises
    ------
    DataError
        The file is missing, was changed after it was written, or has another format version.
    """
    path = folder / METRICS
    content = read_json(path, WHAT, DataError)
    check_file(path, DataError)
    found = content.get("format") if isinstance(content, dict) else None
    if isinstance(content, dict) and found != FORMAT:
        raise DataError(f"{path}: has format {found!r}; expected {FORMAT}: evaluate again with this version")
    table: dict[str, Any] = checked(content, REPORT, str(path), DataError, f"expected {WHAT}")
    return table
