"""Every number of a whole evaluation, beside those that this version was released with."""

from pathlib import Path
from typing import Any

from noiseflow.evaluate import Evaluation
from noiseflow.evaluate.metric import as_json
from tools.checks.pinned import assert_pinned, numbers_in

HERE = Path(__file__).parent


def test_no_number_of_a_report_has_moved(whole: Evaluation) -> None:
    scores = as_json(whole.scores)
    # A network that is trained: another order of sums is another network.
    scores["judges"]["accuracy"].pop("network")
    assert_pinned(scores, HERE / "scores.json")


def test_no_record_has_moved(whole: Evaluation) -> None:
    """By measure and source: value, standard error and ends of each, in order, and where the first and last are of."""
    kept: dict[str, dict[str, dict[str, list[Any]]]] = {}
    for each in (each for each in whole.records() if each.part != "network"):
        of = kept.setdefault(f"{each.measure}, {each.unit}", {}).setdefault(each.model, {"where": [], "numbers": []})
        of["where"].append([each.camera, each.iso, each.part])
        of["numbers"].append([each.value, each.standard_error, each.low, each.high])
    for sources in kept.values():
        for of in sources.values():
            of["where"] = [of["where"][0], of["where"][-1]]
    assert_pinned(kept, HERE / "records.json")


def test_no_verdict_has_moved(whole: Evaluation) -> None:
    """Levels, numbers in the sentences, and cells of the table."""
    verdicts = [[each.measure, each.level, numbers_in(each.text)] for each in whole.findings]
    cells = [[row.measure, {name: numbers_in(cell) for name, cell in row.cells.items()}] for row in whole.table()]
    said = {"headline": numbers_in(whole.headline), "notes": [numbers_in(each) for each in whole.notes]}
    steady = [each for each in verdicts if each[0] != "judges"], [each for each in cells if "network" not in each[0]]
    assert_pinned({"verdicts": steady[0], "table": steady[1], **said}, HERE / "verdicts.json")
