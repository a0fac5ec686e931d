"""Schema of a profile's JSON file, which is checked before a profile is built."""

from noiseflow.core.output.marks import CHECKSUM
from noiseflow.core.reading.schema import Choice, ListOf, MapOf, Maybe, Number, Plain, Schema, Table, Text

__all__ = ["profile_schema"]

REMARK = Text(100_000)

ESTIMATE = Table(
    {
        "value": Number(-1e12, 1e12),
        "standard_error": Maybe(Number(0, 1e12)),
        "interval": ListOf(Maybe(Number(-1e12, 1e12)), 2, 2),
        "unit": Text(20),
    }
)


def profile_schema(schema: str, kinds: tuple[str, ...]) -> Schema:
    """Return the schema of a profile's file.

    Parameters
    ----------
    schema : str
        Name and version of the format.
    kinds : tuple of str
        Allowed kinds of settings.

    Returns
    -------
    Schema
        Required and optional fields with their types and ranges.
    """
    setting = Table(
        {"iso": Number(0, 1e9, above=True), "plane": Text(100, 1), "estimates": MapOf(ESTIMATE)},
        {
            "covariance": ListOf(ListOf(Number(), 0, 100), 0, 100),
            "facts": MapOf(Plain()),
            "kind": Choice(kinds),
            "cautions": ListOf(REMARK, 0, 10_000),
            "absent": MapOf(REMARK),
        },
    )
    return Table(
        {
            "schema": Choice((schema,)),
            "camera": Text(1000),
            "layout": Text(100, 1),
            "white_dn": Number(0, 2**32, above=True),
            "settings": ListOf(setting, 1, 100_000),
        },
        {"provenance": MapOf(Plain()), "cautions": ListOf(REMARK, 0, 10_000), CHECKSUM: Text(64, 64, "[0-9a-f]*")},
    )
