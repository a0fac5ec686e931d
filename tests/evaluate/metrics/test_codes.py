"""Likelihood of the integers in the scores: against scipy, coarse and fine codes, exact and bound."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from scipy import stats

from noiseflow.evaluate import evaluate
from noiseflow.evaluate.metrics.likelihood import CodeLikelihood, CodeLikelihoodCell
from noiseflow.evaluate.presentation.present import presenter_of
from noiseflow.evaluate.presentation.presenter import Finding
from noiseflow.evaluate.report.evaluation_result import Evaluation
from noiseflow.evaluate.report.report import page
from noiseflow.evaluate.statistics.intervals import Interval

COARSE = 0.1
"""Factor on the σ of the test's camera: 0.8 DN in the dark."""


@pytest.fixture(scope="module")
def exact(shared_workshop: Any) -> type:
    """The test's camera with a distribution function for each pixel."""

    class WithCdf(type(shared_workshop.model())):  # type: ignore[misc]
        @property
        def elementwise(self) -> bool:
            return True

        def latent(self, noise: Any, cond: Any) -> Any:
            return noise.double() / self.sigma(cond)

    return WithCdf


def narrow(shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    return COARSE * rng.normal(size=shape)


@pytest.fixture(scope="module")
def coarse(shared_workshop: Any, exact: type) -> tuple[Evaluation, Any, Mapping[str, float]]:
    """Models of coarse codes: the right one exact and as a bound, and one that is too wide."""
    isos = (100.0, 400.0)
    store = shared_workshop.store(noise=narrow, isos=isos, patches=160, signal=(10.0, 120.0), name="coarse.h5")
    factors = {"right": COARSE**2, "bound": COARSE**2, "wide": 1.5 * COARSE**2}
    models = {
        name: (shared_workshop.model(isos=isos, factor=factor) if name == "bound" else None)
        or exact(shared_workshop.model(isos=isos, factor=factor).spec)
        for name, factor in factors.items()
    }
    return evaluate(models, store), store, factors


def score(evaluation: Evaluation) -> CodeLikelihood:
    found = evaluation.scores["codes"]
    assert isinstance(found, CodeLikelihood)
    return found


def by_scipy(workshop: Any, store: Any, factor: float) -> np.ndarray:
    """−log P of each code of the store, nats."""
    codes, clean = (values.astype(np.float64) for values in store.codes(store.indices("test")))
    black = store.table["black"][:, :, None, None].astype(np.float64)
    iso = store.table["iso"].astype(np.float64)[:, None, None, None]
    sigma = np.stack([workshop.sigma_dn(*each) for each in zip(clean - black, iso, strict=True)]) * np.sqrt(factor)
    high = np.where(codes == workshop.white_level, np.inf, codes + 0.5)
    low = np.where(codes == 0, -np.inf, codes - 0.5)
    return -np.log(stats.norm.cdf((high - clean) / sigma) - stats.norm.cdf((low - clean) / sigma))


def test_it_is_the_log_of_scipy_s_intervals_in_every_part(
    shared_workshop: Any, coarse: tuple[Evaluation, Any, Mapping[str, float]]
) -> None:
    evaluation, store, factors = coarse
    found = score(evaluation)
    assert found.kinds == {"right": "exact", "bound": "bound", "wide": "exact"}
    each = {name: by_scipy(shared_workshop, store, factors[name]) for name in ("right", "wide")}
    for name, nll in each.items():
        assert found.cells[0].nats_per_pixel[name].value == pytest.approx(nll.mean(), abs=1e-5)
        for cell in found.cells[1:]:
            own = nll[store.table["iso"] == cell.iso]
            assert cell.nats_per_pixel[name].value == pytest.approx(own.mean(), abs=1e-5)
        assert [plane.part for plane in found.planes] == ["plane R", "plane G1", "plane G2", "plane B"]
        for index, plane in enumerate(found.planes):
            assert plane.nats_per_pixel[name].value == pytest.approx(nll[:, index].mean(), abs=1e-5)
            assert "bound" not in plane.nats_per_pixel
        patches = sum(part.patches * part.nats_per_pixel[name].value for part in found.signals)
        assert patches / len(nll) == pytest.approx(nll.mean(), abs=1e-5)
    difference = (each["wide"] - each["right"]).mean()
    assert found.cells[0].behind["wide"].value == pytest.approx(difference, abs=1e-5)


def test_a_bound_lies_above_the_exact_nll_and_near(coarse: tuple[Evaluation, Any, Mapping[str, float]]) -> None:
    # The bound's proposal knows σ to 5 %, from samples: the gap is a few thousandths of a nat.
    behind = score(coarse[0]).cells[0].behind["bound"]
    assert behind.standard_error is not None
    assert -5 * behind.standard_error < behind.value < 0.01


def test_where_codes_are_coarse_the_verdict_is_of_the_integers(
    coarse: tuple[Evaluation, Any, Mapping[str, float]],
) -> None:
    evaluation = coarse[0]
    assert score(evaluation).coarse
    assert evaluation.headline.startswith("By likelihood of the integers right is ")
    assert "better than wide" in evaluation.headline
    # A bound that is worse decides nothing.
    assert "worse than bound" not in evaluation.headline
    assert "better than bound" not in evaluation.headline
    texts = [finding.text for finding in evaluation.findings if finding.measure == "nll_codes"]
    assert len(texts) == 2
    # The density at coarse codes has no word beside it.
    assert not [finding for finding in evaluation.findings if finding.measure == "nll"]
    assert "right is better than wide by" in texts[1]
    rows = {row.measure: row for row in evaluation.table()}
    assert rows["NLL of the codes"].cells["bound"].startswith("≤ ")
    assert not rows["NLL of the codes"].cells["right"].startswith("≤")
    assert "NLL of the codes − that of right" in rows
    measures = {(record.measure, record.model) for record in evaluation.records()}
    assert {("nll_codes", "right"), ("nll_codes_bound", "bound"), ("nll_codes_behind", "wide")} <= measures
    content = json.loads(evaluation.to_json())["scores"]["codes"]
    assert content["kinds"]["bound"] == "bound"
    html = page(evaluation)
    assert "Likelihood of the integers by plane" in html
    assert "as they have one likelihood per patch: bound" in html


def test_where_codes_are_fine_the_verdict_is_of_the_density(shared_workshop: Any, exact: type) -> None:
    models = {"right": exact(shared_workshop.model().spec), "wide": exact(shared_workshop.model(factor=1.5).spec)}
    evaluation = evaluate(models, shared_workshop.store(patches=80, name="fine.h5"))
    found = score(evaluation)
    assert not found.coarse
    # The darkest of the made signals is 27 DN above black.
    assert found.sigma_dn == pytest.approx(shared_workshop.sigma_dn(np.array(27.0), 100.0), rel=0.1)
    assert evaluation.headline.startswith("By likelihood right is better than wide")
    assert not [finding for finding in evaluation.findings if finding.measure == "nll_codes"]
    continuous = evaluation.scores["likelihood"].cells[0]  # type: ignore[attr-defined]
    # At σ of 8 DN and more the two differ by 1/24 of (1/σ)², 0.0007 at the most.
    for name in models:
        codes, density = found.cells[0].nats_per_pixel[name], continuous.nats_per_pixel_dn[name]
        assert codes.value == pytest.approx(density.value, abs=1e-3)


def estimate(value: float, half: float = 0.001) -> Interval:
    return Interval(value, half / 2, value - half, value + half, 20)


@pytest.mark.parametrize(
    ("tested", "other", "difference", "level", "words"),
    [
        ("exact", "exact", 0.1, "good", "is better than other by 0.1"),
        ("exact", "exact", -0.1, "bad", "is worse than other by 0.1"),
        ("bound", "exact", 0.1, "good", "is better than other by at least 0.1"),
        ("bound", "exact", -0.1, "open", "the bound of mine is worse than other"),
        ("exact", "bound", 0.1, "open", "than the bound of other, whose true value may be better"),
        ("exact", "bound", -0.1, "bad", "is worse than other by at least 0.1"),
        ("exact", "exact", 0.0, "open", "do not differ significantly"),
    ],
)
def test_a_bound_decides_one_way_only(tested: Any, other: Any, difference: float, level: str, words: str) -> None:
    finding = finding_of(tested, other, "other", difference)
    assert (finding.level, finding.measure) == (level, "nll_codes")
    assert words in finding.text


@pytest.mark.parametrize(
    ("tested", "difference", "level", "words"),
    [
        ("exact", -0.0001, "good", "is at the oracle"),
        ("bound", -0.0005, "good", "is at the oracle: at most 0.0005"),
        ("exact", -0.01, "bad", "behind the oracle"),
        ("bound", -0.01, "open", "at most 0.0100"),
        ("exact", 0.01, "bad", "which is impossible"),
    ],
)
def test_the_gap_to_the_oracle(tested: Any, difference: float, level: str, words: str) -> None:
    finding = finding_of(tested, "exact", "oracle", difference)
    assert (finding.level, finding.measure) == (level, "oracle")
    assert words in finding.text


def finding_of(tested: Any, other: Any, name: str, difference: float) -> Finding:
    values = {"mine": estimate(1.0), name: estimate(1.0 + difference)}
    cell = CodeLikelihoodCell(None, None, "", 10.0, 100, 20, {name: estimate(difference)}, values)
    found = CodeLikelihood(True, "scene", {"mine": tested, name: other}, 0.5, (cell,), (), (), ())
    (finding,) = presenter_of("codes").findings(found, "mine")
    return finding
