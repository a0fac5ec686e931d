"""Rows from other people's ``results.json``, measured on the same data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noiseflow.core.errors import DataError
from noiseflow.core.reading.schema import ListOf, MapOf, Maybe, Number, Plain, Table, Text, checked
from noiseflow.core.reading.text import read_json

__all__ = ["ROW_SCHEMA", "rows_of_others"]

SHA = Text(64, 64, "[0-9a-f]*")
ANY = Maybe(Number())
INTERVAL = Maybe(
    Table({"value": ANY, "standard_error": ANY, "low": ANY, "high": ANY, "groups": Number(0, 1e9, whole=True)})
)
WORDS = ListOf(Text(100), 0, 100)

ROW_SCHEMA = Table(
    {
        "data": Text(100, 1),
        "model": Text(100, 1),
        "fingerprint": SHA,
        "samples_sha256": SHA,
        "patches": Number(1, 2**40, whole=True),
        "groups": Text(100),
        "nats_per_dim": INTERVAL,
        "nats_per_pixel_dn": INTERVAL,
        "nats_per_pixel_codes": INTERVAL,
        "codes_kind": Maybe(Text(20)),
        "better_than_reference": INTERVAL,
        "behind_oracle": INTERVAL,
        "kl": INTERVAL,
        "kl_floor": ANY,
        "variance_ratio": INTERVAL,
        "two_sample": INTERVAL,
        "faults": WORDS,
        "parameters": Number(0, 1e12, whole=True),
        "fit_s": Number(0),
        "mpix_per_s": ANY,
    },
    {
        "unsettled": WORDS,
        "headline": Text(10_000),
        "key": Text(64),
        "evaluate_s": Number(0),
        "iso_left_out": Maybe(Table({"iso": Number(0, 1e9), "nats_per_dim": INTERVAL}, others=True)),
        "crps_excess": INTERVAL,
        "energy_excess": INTERVAL,
        "judges": MapOf(INTERVAL),
        "given_sha256": Text(64),
    },
)
"""Schema of such a row: the numbers that the table shows, and the checksums of the data and of the samples."""

FILE_SCHEMA = Table(
    {"rows": ListOf(Plain(), 0, 100_000), "split": Text(20, 1)},
    {"title": Text(1000), "noiseflow": Text(100), "seed": Number(0, 2**32 - 1, whole=True)},
)


def rows_of_others(path: Path, fingerprints: Mapping[str, str], split: str) -> list[dict[str, Any]]:
    """Read the rows of a ``results.json`` that were measured on this benchmark's data.

    Parameters
    ----------
    path : Path
        A ``results.json`` of another benchmark.
    fingerprints : mapping of str to str
        Fingerprints of this benchmark's stores, by the name of the data.
    split : str
        Split that is scored.

    Returns
    -------
    list of dict
        The rows, each with the path of its file under ``from``.  Failed cells and other data are left out.

    Raises
    ------
    DataError
        Not a ``results.json``, another split, data of the same name with another fingerprint, or no row on this data.
    """
    content = checked(read_json(path, "results.json of a benchmark", DataError), FILE_SCHEMA, str(path), DataError)
    if content["split"] != split:
        raise DataError(f"{path}: its split is {content['split']!r}; expected {split!r}, as this benchmark scores")
    found = []
    for row in content["rows"]:
        if not isinstance(row, dict) or "error" in row:
            continue
        if isinstance(row.get("data"), str) and row["data"] not in fingerprints:
            continue
        known = checked(row, ROW_SCHEMA, str(path), DataError, "expected a row of results.json with its checksums")
        ours = fingerprints[known["data"]]
        if known["fingerprint"] != ours:
            raise DataError(
                f"{path}: {known['model']} was scored on other data of the name {known['data']!r} (fingerprint "
                f"{known['fingerprint'][:12]}, expected {ours[:12]}), so its rows cannot be compared; rename the data, "
                "or score it again"
            )
        found.append({**known, "from": str(path)})
    if not found:
        raise DataError(f"{path}: has no row of {', '.join(fingerprints)}; expected results on the same data")
    return found
