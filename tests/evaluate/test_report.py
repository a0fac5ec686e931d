import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from noiseflow.core.errors import OutputError
from noiseflow.core.output.manifest import MANIFEST
from noiseflow.core.sortable import SORT_SCRIPT
from noiseflow.evaluate import Evaluation, evaluate, write_report
from noiseflow.evaluate.presentation.figures import draw_examples, pens_for
from noiseflow.evaluate.presentation.present import presenter_of
from noiseflow.evaluate.report import report
from noiseflow.evaluate.report.report import FILES

ISOS = (100.0, 400.0)


@pytest.fixture(scope="module")
def evaluation(shared_workshop: Any) -> Evaluation:
    store = shared_workshop.store(isos=ISOS, patches=120)
    right, wide = (shared_workshop.model(isos=ISOS, factor=factor) for factor in (1.0, 1.1))
    return evaluate({"<b>mine</b>": right, "oracle": wide}, store)


@pytest.fixture(scope="module")
def html(evaluation: Evaluation) -> str:
    return report.page(evaluation)


@pytest.fixture
def quick_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page without figures, for what is about files."""
    monkeypatch.setattr(report, "page", lambda evaluation, progress: evaluation.headline)


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.text.append(data.replace("\N{NO-BREAK SPACE}", " "))


@pytest.mark.usefixtures("quick_page")
def test_folder_holds_the_page_and_the_numbers(evaluation: Evaluation, tmp_path: Path) -> None:
    index = write_report(evaluation, tmp_path / "report")
    assert index == tmp_path / "report" / "index.html"
    assert sorted(path.name for path in index.parent.iterdir()) == sorted((*FILES, MANIFEST))
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    content = json.loads((index.parent / "metrics.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert content["models"] == ["<b>mine</b>", "oracle"]
    with (index.parent / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(evaluation.records())
    assert not {"nan", "inf"} & {row["value"] for row in rows}
    whole = next(row for row in rows if (row["measure"], row["model"], row["camera"]) == ("nll", "oracle", ""))
    in_json = content["scores"]["likelihood"]["cells"][0]["nats_per_dim"]["oracle"]["value"]
    assert float(whole["value"]) == in_json


def test_page_needs_no_network_and_stays_small(html: str) -> None:
    page = Page(html)
    assert page.links
    # To figures in the page, and to its own sections.
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    # The only script sorts tables, and asks for nothing.
    assert page.tags.count("script") == html.count(SORT_SCRIPT) == 1
    assert not re.search(r"fetch|XMLHttp|import|http", SORT_SCRIPT)
    assert "link" not in page.tags
    assert "url(" not in html
    assert "@import" not in html
    assert len(html.encode()) < 5e6


def test_page_says_the_verdict_and_every_figure_has_its_words(evaluation: Evaluation, html: str) -> None:
    page = Page(html)
    text = " ".join(page.text)
    assert evaluation.headline in text
    for finding in evaluation.findings:
        assert finding.text in text
    for row in evaluation.table():
        assert row.measure in text
    # Examples, likelihood, of the integers, histograms, photon transfer, rows, quantiles, by intensity, structure,
    # denoiser.
    assert len(page.images) == page.tags.count("figcaption") == 3 + 3 + 1 + 2 + 4 + 2 + 1 + 2 + 3 + 1
    assert all(image["alt"] for image in page.images)
    for title in ("Dark", "Mid", "Bright"):
        assert re.search(rf"{title}: \d+ DN", text)
    # No line breaks between a number and its interval, its per cent or its unit.
    verdict = html.partition('<ul class="verdict">')[2].partition("</ul>")[0]
    assert "&nbsp;±&nbsp;" in verdict
    assert re.search(r"\d (?:±|%|dB|×)", verdict) is None
    # The name of a model is text, never markup.
    assert "<b>mine</b>" in text
    assert "b" not in page.tags


def test_the_same_evaluation_gives_the_same_figures(evaluation: Evaluation, html: str) -> None:
    pens = pens_for("data", evaluation.models)
    again = [
        *presenter_of("likelihood").plates(evaluation.scores["likelihood"], pens),
        *draw_examples(evaluation.examples[:1], evaluation.tested),
    ]
    assert len(again) == 4
    for plate in again:
        assert plate.image in html


@pytest.mark.usefixtures("quick_page")
def test_a_report_is_not_replaced_unasked(evaluation: Evaluation, tmp_path: Path) -> None:
    out = tmp_path / "report"
    write_report(evaluation, out)
    with pytest.raises(OutputError, match="--overwrite"):
        write_report(evaluation, out)
    (out / "metrics.csv").unlink()
    write_report(evaluation, out, overwrite=True)
    assert (out / "metrics.csv").exists()
    (out / "metrics.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"metrics\.csv"):
        write_report(evaluation, out, overwrite=True)
    assert (out / "metrics.csv").read_text() == "mine"


@pytest.mark.usefixtures("quick_page")
def test_a_folder_with_the_name_of_an_old_half_is_left_alone(evaluation: Evaluation, tmp_path: Path) -> None:
    mine = tmp_path / "report.partial" / "wedding.arw"
    mine.parent.mkdir()
    mine.write_text("dear")
    write_report(evaluation, tmp_path / "report")
    assert mine.read_text() == "dear"


def test_a_folder_with_anything_else_is_never_replaced(evaluation: Evaluation, tmp_path: Path) -> None:
    out = tmp_path / "photos"
    out.mkdir()
    (out / "wedding.ARW").write_text("dear")
    with pytest.raises(OutputError, match=r"wedding\.ARW"):
        write_report(evaluation, out, overwrite=True)
    assert (out / "wedding.ARW").read_text() == "dear"
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="is a file"):
        write_report(evaluation, tmp_path / "file", overwrite=True)
    with pytest.raises(OutputError, match="no such folder"):
        write_report(evaluation, tmp_path / "nowhere" / "report")


@pytest.mark.usefixtures("quick_page")
def test_nothing_half_written_stands_under_the_final_name(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "report"
    write_report(evaluation, out)
    before = {name: (out / name).read_bytes() for name in FILES}

    def fail(_: Evaluation) -> str:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(Evaluation, "to_json", fail)
    for target in (out, tmp_path / "new"):
        with pytest.raises(RuntimeError, match="full"):
            write_report(evaluation, target, overwrite=True)
    assert {name: (out / name).read_bytes() for name in FILES} == before
    assert not list(tmp_path.glob("new*"))
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


@pytest.mark.parametrize("patches", [1, 3])
def test_a_store_of_a_patch_or_three_makes_a_page(workshop: Any, patches: int) -> None:
    store = workshop.store(patches=patches, groups=1)
    page = Page(report.page(evaluate({"m": workshop.model()}, store)))
    assert "without a baseline" in " ".join(page.text)


def test_a_noisy_clean_signal_is_said(workshop: Any) -> None:
    store = workshop.store(patches=40, groups=2, clean_variance=1.0)
    plates = draw_examples(evaluate({"m": workshop.model()}, store).examples, "m")
    assert all("The clean signal is an estimate" in plate.caption for plate in plates)


def test_the_figures_of_a_report_are_counted(workshop: Any, tmp_path: Path) -> None:
    said: list[tuple[int, int]] = []
    evaluation = evaluate({"m": workshop.model()}, workshop.store(patches=40))
    write_report(evaluation, tmp_path / "report", progress=lambda done, total, note="": said.append((done, total)))
    sections = len(evaluation.scores)
    assert said == [(done, sections) for done in range(sections + 1)]
