from pathlib import Path

import click
import pytest

from tools.benching.page import between, put_between, put_table, table

COLUMNS = ("what", "s")


def test_a_table_takes_the_place_of_the_one_with_its_columns(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    old, other = table(COLUMNS, [("a", "1"), ("b", "2")]), table(("what", "MiB"), [("a", "3")])
    page.write_text(f"Before.\n\n{old}\nBetween.\n\n{other}", encoding="utf-8")
    put_table(page, COLUMNS, [("c", "4")])
    assert page.read_text(encoding="utf-8") == f"Before.\n\n{table(COLUMNS, [('c', '4')])}\nBetween.\n\n{other}"
    put_table(page, ("what", "MiB"), [])
    assert page.read_text(encoding="utf-8").endswith(f"Between.\n\n{table(('what', 'MiB'), [])}")


@pytest.mark.parametrize("count", [0, 2])
def test_a_page_without_a_place_for_it_stays_as_it_is(tmp_path: Path, count: int) -> None:
    page = tmp_path / "page.md"
    text = "\n".join(["Words.\n", *(table(COLUMNS, [("a", "1")]) for _ in range(count))])
    page.write_text(text, encoding="utf-8")
    with pytest.raises(click.ClickException, match=f"has {count} tables with the columns what, s"):
        put_table(page, COLUMNS, [("c", "4")])
    assert page.read_text(encoding="utf-8") == text


def test_text_takes_the_place_of_what_stands_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Before.\n\n<!-- x -->\nold\n<!-- /x -->\n\nAfter.\n", encoding="utf-8")
    for text in ("new", "newer\n"):
        put_between(page, "x", text)
    assert page.read_text(encoding="utf-8") == "Before.\n\n<!-- x -->\n\nnewer\n\n<!-- /x -->\n\nAfter.\n"
    with pytest.raises(click.ClickException, match="one pair of marks <!-- y -->"):
        put_between(page, "y", "text")


def test_a_section_is_taken_over_with_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    assert between(page, "x") == "<!-- x -->\n<!-- /x -->\n"
    page.write_text("Before.\n\n<!-- x -->\nold\n<!-- /x -->\n\nAfter.\n", encoding="utf-8")
    assert between(page, "x") == "<!-- x -->\nold\n<!-- /x -->\n"
    assert between(page, "y") == "<!-- y -->\n<!-- /y -->\n"
