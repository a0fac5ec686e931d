"""The gallery's programs, the reference, and the checker of links."""

from pathlib import Path

import pytest

import noiseflow
from tools.site.gallery import PAGES, pages, run
from tools.site.links import broken

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_a_program_of_the_gallery_runs_as_written(page: Path, tmp_path: Path) -> None:
    pictures = {picture.name for picture in run(page, tmp_path)}
    text = page.read_text(encoding="utf-8")
    assert all(
        f"images/gallery/{name}" in text and (ROOT / "docs/images/gallery" / name).is_file() for name in pictures
    )
    assert f"({page.name})" in (PAGES / "index.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("room", ["simulate", "patches", "flows"])
def test_the_reference_lists_every_public_name(room: str) -> None:
    """Of rooms that load on demand, whose names the reference cannot see by itself."""
    text = (ROOT / "docs" / "guide" / "api" / f"{room}.md").read_text(encoding="utf-8")
    listed = [line.removeprefix("        - ") for line in text.splitlines() if line.startswith("        - ")]
    assert listed == sorted(getattr(noiseflow, room).__all__)


def test_home_and_menu_list_every_page() -> None:
    docs = ROOT / "docs"
    home, menu = (docs / "index.md").read_text("utf-8"), (ROOT / "mkdocs.yml").read_text("utf-8")
    for page in sorted(docs.rglob("*.md")):
        name = page.relative_to(docs).as_posix()
        assert name in menu, name
        if name != "index.md" and page.parent.name not in ("api", "gallery"):
            assert f"({name})" in home, name


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "index.html").write_text("<h1 id='top'>A</h1><a href='../index.html#here'>b</a>")
    (tmp_path / "index.html").write_text("<p id='here'><a href='a/#top'>a</a><a href='https://example.org'>out</a>")
    assert broken(tmp_path) == []
    (tmp_path / "index.html").write_text(
        "<a href='a/#bottom'>a</a><a href='b/'>b</a><script src='https://example.org/x.js'></script>"
    )
    assert [line.rpartition(": ")[2] for line in broken(tmp_path)] == [
        "no such place in that page",
        "no such place in that page",
        "no such file",
        "loaded from elsewhere",
    ]
