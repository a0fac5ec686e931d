"""Pages with names of strangers, opened in Chromium: nothing runs, nothing is loaded, nothing covers the page."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser, Seen

from noiseflow.calibrate.calibrate_camera import Calibration
from noiseflow.calibrate.profiles.published import shipped_profile
from noiseflow.calibrate.report import write_page
from noiseflow.core.notebook import curves, facts
from noiseflow.core.output.manifest import begin
from noiseflow.core.sortable import SORT_SCRIPT
from noiseflow.evaluate import Data, Evaluation
from noiseflow.evaluate.benchmark.page import write_results
from noiseflow.evaluate.benchmark.spec import BenchmarkSpec, DataSpec, ModelChoice
from noiseflow.evaluate.metrics.likelihood import (
    CodeLikelihood,
    CodeLikelihoodCell,
    DensityLikelihood,
    DensityLikelihoodCell,
)
from noiseflow.evaluate.metrics.two_sample import TwoSample
from noiseflow.evaluate.report.report import page
from noiseflow.evaluate.statistics.intervals import Interval

HOSTILE = (
    "<script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 2'>",
    "\"'><svg onload=window.ran=3>",
    "</style></title></textarea><script src=https://example.org/x.js></script>",
    "<div style='position:fixed;inset:0;background:red'>",
    "<iframe src=https://example.org></iframe><base href=https://example.org>",
    "javascript:window.ran=4",
    "{{ 7 * 7 }}{% raw %}",
    "$_$",
    "[/b]",
    "\x1b[31m\x1b]0;title\x07",
    "abc\u202egnp.exe\u200f\u2066",
    "one\ntwo\r\nthree\u2028four",
    '=HYPERLINK("https://example.org")',
    "x" * 10_000,
    "<b>" * 3_000,
)

pytestmark = pytest.mark.skipif(CHROMIUM is None or shutil.which("bash") is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


def of_an_evaluation(path: Path, name: str) -> None:
    value = Interval(0.93, 0.01, 0.9, 0.95, 9)
    nll = {name: value, "other": value}
    cells = [
        DensityLikelihoodCell(camera, iso, "", 10.0, 9, 9, {"other": value}, nll, nll)
        for camera, iso in ((None, None), (name, 100.0), (name, 800.0))
    ]
    likelihood = DensityLikelihood(
        False, "scene", dict.fromkeys(nll, ""), {}, (1.0,), dict.fromkeys(nll, (1.0,)), tuple(cells), (), ()
    )
    codes = CodeLikelihoodCell(None, None, "", 10.0, 9, 9, {"other": value}, nll)
    exact = CodeLikelihood(False, "scene", dict.fromkeys(nll, "exact"), 9.0, (codes,), (), (), ())
    scores = {"likelihood": likelihood, "codes": exact, "two_sample": TwoSample(400, (4, 16, 16), 90, nll)}
    data = Data(name, "0" * 64, "bayer", "gt", "test", 9, 9, (4, 16, 16), 9, 9, "scene", 9, 0.0, (name,), (1,))
    path.write_text(page(Evaluation((name, "other"), {}, data, 0, scores, (), (name,))), "utf-8")


def of_a_calibration(path: Path, name: str) -> None:
    profile = shipped_profile("Sony A7S2")
    setting = replace(profile.settings[0], cautions=(name,), absent={"gain_e_per_dn": name})
    about = {"method": name, "sources": [name, name]}
    write_page(
        Calibration(replace(profile, camera=name, settings=(setting,), provenance=about, cautions=(name,))), path
    )


def of_a_benchmark(path: Path, name: str) -> None:
    spec = BenchmarkSpec(name, (DataSpec("a"),), (ModelChoice("m"),), path.parent)
    begin(path.parent, "benchmark")
    write_results(spec, [{"data": "a", "model": name, "error": name}], path.parent)


def of_a_notebook(path: Path, name: str) -> None:
    drawing = curves({"ISO 100": ([1.0, 2.0], [1.0, 2.0])}, "signal", "noise")
    path.write_text(f"<h1>Notebook</h1>{facts(name, {name: name}, drawing)}", "utf-8")


PAGES: dict[str, tuple[Callable[[Path, str], None], int]] = {
    # They sort their tables; a benchmark also hides its cue to scroll.
    "evaluation": (of_an_evaluation, 1),
    "calibration": (of_a_calibration, 1),
    "benchmark": (of_a_benchmark, 2),
    "notebook": (of_a_notebook, 0),
}
"""How a page is made with a name wherever one can stand, and how many scripts it has of its own."""


def wrong(seen: Seen, scripts: int) -> list[str]:
    """What a page did that it must not do."""
    found = dict(seen.found)
    found.pop("text")
    harmless = {"ran": "", "scripts": scripts, "handlers": [], "active": 0, "sources": [], "links": []}
    harmless |= {"fixed": 0, "covered": False, "hidden": False}
    return [f"{key}: {found[key]}" for key in harmless if found[key] != harmless[key]] + seen.asked + seen.said


@pytest.mark.parametrize("kind", PAGES)
def test_names_of_strangers_do_nothing_in_a_browser(browser: Browser, tmp_path: Path, kind: str) -> None:
    make, scripts = PAGES[kind]
    for number, name in enumerate(HOSTILE):
        folder = tmp_path / str(number)
        folder.mkdir()
        make(folder / "index.html", name)
        seen = browser.open(folder / "index.html")
        assert not wrong(seen, scripts), (name[:80], wrong(seen, scripts))
        assert seen.found["wide"] <= 0 or kind == "notebook", name[:80]
        if name.isprintable() and len(name) < 70:
            assert name in seen.found["text"].replace("\u2212", "-"), name


@pytest.mark.parametrize("name", HOSTILE[:6])
def test_the_browser_sees_what_a_page_without_care_would_do(browser: Browser, tmp_path: Path, name: str) -> None:
    (tmp_path / "index.html").write_text(f"<h1>A page</h1><p>{name}</p>", "utf-8")
    assert wrong(browser.open(tmp_path / "index.html"), 0)


def table(sort: str, rows: list[list[str]]) -> str:
    head, *body = [
        f"<tr><th>{first} <small>of all</small></th>{''.join(f'<{kind}>{cell}</{kind}>' for cell in rest)}</tr>"
        for kind, (first, *rest) in zip(["th", *["td"] * len(rows)], rows, strict=False)
    ]
    return f"<table data-sort={sort}><thead>{head}</thead><tbody>{''.join(body)}</tbody></table>"


def sorted_by(heading: str) -> str:
    """Click a heading twice; what the table shows before, between and after."""
    return f"""(() => {{
      const shown = () => [...document.querySelectorAll("tr")].map(row => [...row.cells].map(cell => cell.innerText));
      const found = [shown()], heads = [...document.querySelectorAll("th")];
      const head = heads.find(each => each.innerText.startsWith({heading!r}));
      for (const _ of [1, 2]) {{ head.querySelector("button").click(); found.push(shown()); }}
      const promised = !document.querySelector(".sorts").hidden;
      return {{ found, sorted: head.getAttribute("aria-sort"), promised }};
    }})()"""


def test_a_click_on_a_heading_sorts_rows_and_columns(browser: Browser, tmp_path: Path) -> None:
    """By the first number, with its sign and its thousands; what is missing comes last both ways."""
    path, end = tmp_path / "index.html", f"<p class=sorts hidden>Click.</p>{SORT_SCRIPT}"
    cells = {"ISO 1600": "\u22123.5 ± 9", "ISO 400": "–", "ISO 800": "1,024", "ISO 200": "2e-3", "ISO 100": "12"}
    path.write_text(table("rows", [["setting", "K"], *map(list, cells.items())]) + end, "utf-8")
    for heading, first, then in (
        ("K", ["1600", "200", "100", "800", "400"], ["800", "100", "200", "1600", "400"]),
        ("setting", ["100", "200", "400", "800", "1600"], ["1600", "800", "400", "200", "100"]),
    ):
        seen = browser.open(path, sorted_by(heading)).found
        orders = [[row[0].split()[1] for row in rows[1:]] for rows in seen["found"]]
        assert orders == [["1600", "400", "800", "200", "100"], first, then]
        assert (seen["sorted"], seen["promised"]) == ("descending", True)
    path.write_text(
        table("columns", [["measure", *"abc"], ["NLL", "2", "1", "3"], ["KL", "4", "5", "6"]]) + end, "utf-8"
    )
    seen = browser.open(path, sorted_by("NLL")).found
    assert [["".join(row[1:]) for row in rows] for rows in seen["found"]] == [
        ["abc", "213", "456"],
        ["bac", "123", "546"],
        ["cab", "321", "645"],
    ]
