"""The ``results.json`` of a stranger: it is refused in one line, or its rows stand in the table as text."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from noiseflow.core.errors import DataError
from noiseflow.evaluate.benchmark.appended import rows_of_others
from noiseflow.evaluate.benchmark.page import COLUMNS, cells_of, markdown
from noiseflow.evaluate.benchmark.spec import BenchmarkSpec, DataSpec, ModelChoice

INTERVAL = {"value": 1.0, "standard_error": 0.1, "low": 0.8, "high": 1.2, "groups": 5}
INTERVALS = (
    "nats_per_dim nats_per_pixel_dn nats_per_pixel_codes better_than_reference behind_oracle kl variance_ratio "
    "two_sample crps_excess energy_excess"
).split()
SHA = "0" * 64
ROW = {
    **dict.fromkeys(INTERVALS, INTERVAL),
    **{"data": "a", "model": "m", "fingerprint": SHA, "samples_sha256": SHA, "patches": 4, "groups": "scenes"},
    **{"codes_kind": "exact", "kl_floor": 0.1, "faults": [], "parameters": 5, "fit_s": 1.0, "mpix_per_s": 2.0},
    **{"judges": {"rows": INTERVAL}, "iso_left_out": {"iso": 100.0, "nats_per_dim": INTERVAL}},
}
ODD: tuple[Any, ...] = (
    None,
    "x",
    3,
    [],
    {},
    {"iso": "x", "nats_per_dim": INTERVAL},
    {"iso": 100.0},
    {"iso": 1.0, "nats_per_dim": 3},
    {**INTERVAL, "value": None},
    {**INTERVAL, "low": None, "high": None},
    {**INTERVAL, "low": -1e308, "high": 1e308},
)


def read(path: Path, row: dict[str, Any]) -> list[dict[str, Any]]:
    path.write_text(json.dumps({"rows": [row], "split": "test"}))
    return rows_of_others(path, {"a": SHA}, "test")


@pytest.mark.parametrize("name", ["fingerprint", "samples_sha256"])
@pytest.mark.parametrize("digits", [63, 65])
def test_a_sha_256_has_64_digits(tmp_path: Path, name: str, digits: int) -> None:
    with pytest.raises(DataError, match=f"{name}: expected"):
        read(tmp_path / "results.json", {**ROW, name: "0" * digits})


@pytest.mark.parametrize("name", ROW)
def test_odd_values_are_refused_or_shown(tmp_path: Path, name: str) -> None:
    for value in ODD:
        rows = []
        with suppress(DataError):
            rows = read(tmp_path / "results.json", {**ROW, name: value})
        for row in rows:
            assert len(cells_of(row, ("judges", "proper_scores"))) == len(COLUMNS) + 3


@pytest.mark.parametrize(
    "hostile", ["<img src=https://example.org>", "[x](https://example.org)", "a|b|c", "x\ny\x1b[m"]
)
def test_names_of_strangers_are_text_in_the_table(tmp_path: Path, hostile: str) -> None:
    rows = read(tmp_path / "results.json", {**ROW, "model": hostile, "faults": [hostile]})
    text = markdown(BenchmarkSpec("t", (DataSpec("a"),), (ModelChoice("m"),), tmp_path), rows)
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    # The name stands in both tables.
    assert sum(token.type == "td_open" for token in tokens) == len(COLUMNS) + 1
    kinds = {each.type for token in tokens for each in token.children or []}
    assert not kinds & {"html_inline", "link_open", "image"}
    assert "\x1b" not in text
