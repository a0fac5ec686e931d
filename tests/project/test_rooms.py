"""A house that one can walk: few things in a folder, no circles, short trips."""

from pathlib import Path

import pytest

from tools.trace import LIMITS, crowded_folders, import_circles, module_imports, package_imports, trips

# What is being mended.  Nothing may be added, and what is met goes.
CROWDED = {"noiseflow/raw/formats": 17}
LONG = {"fit": (51, 131), "evaluate": (61, 188), "augment": (27, 54), "ingest": (50, 93)}


def test_no_folder_shows_more_than_one_sees_at_a_glance() -> None:
    crowded = {folder: count for folder, count in crowded_folders().items() if count > CROWDED.get(folder, 0)}
    assert not crowded


def test_imports_make_no_circle() -> None:
    assert not import_circles(package_imports())
    assert not import_circles(module_imports())


def test_a_circle_is_seen() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a", "e"}, "e": set()}
    assert import_circles(graph) == [["a", "b", "c"]]


@pytest.mark.slow
def test_trips_are_short(tmp_path: Path) -> None:
    for name, trip in trips(tmp_path).items():
        assert trip.within(LONG.get(name, LIMITS[name])), f"{name}: {len(trip.files)} files, {len(trip.edges)} edges"
