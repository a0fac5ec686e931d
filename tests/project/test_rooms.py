"""A house that one can walk: few things in a folder, no circles, short trips."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from noiseflow.raw.bayer import plane_names
from tools.map import main as map_of_rooms
from tools.trace import LIMITS, crowded_folders, forget, import_circles, module_imports, package_imports, trips

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "images" / "rooms.svg"

# Today's trips, where they are longer than `LIMITS`: none may grow, and the cap sinks with the trip.
LONG = {"fit": (72, 181), "evaluate": (70, 163), "augment": (26, 54), "ingest": (63, 139)}


def test_the_picture_of_the_rooms_is_todays(tmp_path: Path) -> None:
    drawn = tmp_path / "rooms.svg"
    assert CliRunner().invoke(map_of_rooms, [str(drawn)]).exit_code == 0
    words = [re.findall(r">([^<>]+)</text>", path.read_text("utf-8")) for path in (drawn, PICTURE)]
    assert words[0] == words[1], "python -m tools.map docs/images/rooms.svg"


def test_no_folder_shows_more_than_one_sees_at_a_glance() -> None:
    assert not crowded_folders()


def test_imports_make_no_circle() -> None:
    assert not import_circles(package_imports())
    assert not import_circles(module_imports())


def test_a_circle_is_seen() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a", "e"}, "e": set()}
    assert import_circles(graph) == [["a", "b", "c"]]


def test_what_functions_remember_is_forgotten_before_a_count() -> None:
    plane_names("bayer")
    assert plane_names.cache_info().currsize
    forget()
    assert not plane_names.cache_info().currsize


@pytest.mark.slow
def test_trips_are_short(tmp_path: Path) -> None:
    for name, trip in trips(tmp_path).items():
        assert trip.within(LONG.get(name, LIMITS[name])), f"{name}: {len(trip.files)} files, {len(trip.edges)} edges"
