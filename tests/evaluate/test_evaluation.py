import json
from typing import Any

import numpy as np
import pytest
import torch

from noiseflow.core.errors import DataError, ModelError, StoreError
from noiseflow.evaluate import evaluate, evaluate_models as module
from noiseflow.evaluate.data_summary import signal_dn
from noiseflow.evaluate.report.report import page
from noiseflow.models.model import NoiseModel
from noiseflow.patches.assembly.writer import StoreWriter
from noiseflow.patches.schema import SPLITS, fields
from noiseflow.patches.store.store import PatchStore


def nll(evaluation: Any, name: str, cell: int = 0) -> Any:
    return evaluation.scores["likelihood"].cells[cell].nats_per_dim[name]


def test_nll_of_a_known_gaussian_is_its_entropy_and_the_unit_is_the_log_of_the_range(workshop: Any) -> None:
    store = workshop.store()
    cell = evaluate({"right": workshop.model()}, store).scores["likelihood"].cells[0]  # type: ignore[attr-defined]
    table, batch = store.table, store.read(np.arange(len(store)))
    span = (table["white"][:, None] - table["black"]).astype(float)
    sigma = workshop.sigma_dn(batch.clean.double().numpy() * span[:, :, None, None], 100.0) / span[:, :, None, None]
    entropy = 0.5 * np.log(2 * np.pi * np.e * sigma**2)
    # −log density has variance ½ a pixel; rounding adds 1/12 DN² to at least 64, so 1/1536 nats at the most.
    assert cell.nats_per_dim["right"].value == pytest.approx(entropy.mean(), abs=4 * np.sqrt(0.5 / entropy.size) + 7e-4)
    in_dn = cell.nats_per_pixel_dn["right"].value - cell.nats_per_dim["right"].value
    assert in_dn == pytest.approx(np.log(workshop.white_level - np.array(workshop.black)).mean(), abs=1e-9)


def test_difference_is_the_closed_form(workshop: Any) -> None:
    models = {"right": workshop.model(), "wide": workshop.model(factor=1.5)}
    behind = evaluate(models, workshop.store()).scores["likelihood"].cells[0].behind["wide"]  # type: ignore[attr-defined]
    expected = 0.5 * (np.log(1.5) + 1 / 1.5 - 1)
    # Four standard errors, a third of them for the variance of rounding: 1/12 DN² of at least 64.
    assert behind.value == pytest.approx(expected, abs=4 * behind.standard_error + 3e-4)
    assert behind.standard_error < 0.002


def test_bursts_are_scored_on_the_scaled_noise(workshop: Any) -> None:
    plain = evaluate({"m": workshop.model()}, workshop.store(name="a.h5"))
    noisy_clean = evaluate({"m": workshop.model()}, workshop.store(name="b.h5", clean_variance=0.5))
    ratio = noisy_clean.scores["marginal"].cells[0].variance_ratio["m"]  # type: ignore[attr-defined]
    assert ratio.value == pytest.approx(1, abs=4 * ratio.standard_error)
    assert nll(noisy_clean, "m").value == pytest.approx(nll(plain, "m").value, abs=0.01)


def test_cells_add_up(workshop: Any) -> None:
    isos = (100.0, 400.0)
    store = workshop.store(isos=isos)
    evaluation = evaluate({"m": workshop.model(isos=isos)}, store)
    cells = evaluation.scores["likelihood"].cells  # type: ignore[attr-defined]
    assert [(cell.camera, cell.iso) for cell in cells] == [(None, None), ("One", 100.0), ("One", 400.0)]
    assert cells[0].patches == cells[1].patches + cells[2].patches
    parts = [cell.nats_per_dim["m"].value for cell in cells]
    assert parts[0] == pytest.approx((parts[1] + parts[2]) / 2)
    # Four times the ISO is twice the σ: log 2 nats more.
    assert parts[2] - parts[1] == pytest.approx(np.log(2), abs=0.01)
    marginal = evaluation.scores["marginal"].cells  # type: ignore[attr-defined]
    for source in ("data", "m"):
        counts = [sum(cell.histogram.counts[source]) for cell in marginal]
        assert counts[0] == counts[1] + counts[2] == store.table.size * np.prod(store.patch_shape)


def test_cameras_are_matched_by_name(workshop: Any) -> None:
    class TwoCameras(type(workshop.model())):  # type: ignore[misc]
        def sigma(self, cond: Any) -> Any:
            loud = torch.tensor([name == "Loud" for name in self.cameras])[cond.camera]
            return super().sigma(cond) * (1 + 2.0 * loud[:, None, None, None])

    def spec(*cameras: str) -> Any:
        return workshop.model(cameras=cameras).spec

    store = workshop.store(cameras=("Quiet", "Loud"))
    models = {"as stored": TwoCameras(spec("Quiet", "Loud")), "turned": TwoCameras(spec("Loud", "x", "Quiet"))}
    evaluation = evaluate(models, store)
    assert nll(evaluation, "as stored").value == nll(evaluation, "turned").value
    loud, quiet = evaluation.scores["marginal"].cells[1:]  # type: ignore[attr-defined]
    assert (loud.camera, quiet.camera) == ("Quiet", "Loud") or (loud.camera, quiet.camera) == ("Loud", "Quiet")
    by_camera = {cell.camera: cell.variance_ratio["turned"].value for cell in (loud, quiet)}
    assert by_camera["Loud"] / by_camera["Quiet"] == pytest.approx(9, rel=0.1)


def test_the_same_arguments_give_the_same_result_and_models_do_not_disturb_each_other(workshop: Any) -> None:
    store = workshop.store(patches=80)
    one, again, other_seed = (evaluate({"m": workshop.model()}, store, seed=seed) for seed in (3, 3, 4))
    assert one.to_json() == again.to_json()
    ratios = [e.scores["marginal"].cells[0].variance_ratio["m"].value for e in (one, other_seed)]  # type: ignore[attr-defined]
    assert ratios[0] != ratios[1]
    beside = evaluate({"m": workshop.model(), "wide": workshop.model(factor=1.1)}, store, seed=3)
    ours, theirs = (e.scores["marginal"].cells[0] for e in (one, beside))  # type: ignore[attr-defined]
    assert ours.kl["m"] == theirs.kl["m"]
    assert ours.variance_ratio["m"] == theirs.variance_ratio["m"]


def test_batches_of_any_size_give_the_same_likelihood_and_counts(
    workshop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = workshop.store(patches=60)
    whole = evaluate({"m": workshop.model()}, store)
    monkeypatch.setattr(module, "VALUES_AT_A_TIME", 7 * int(np.prod(store.patch_shape)))
    pieces = evaluate({"m": workshop.model()}, store)
    assert nll(pieces, "m").value == pytest.approx(nll(whole, "m").value, rel=1e-12)
    curves = [e.scores["mean_variance"].curves[0].bins for e in (whole, pieces)]  # type: ignore[attr-defined]
    assert [bin_.count for bin_ in curves[0]] == [bin_.count for bin_ in curves[1]]
    variances = [[bin_.moments["data"].variance for bin_ in bins] for bins in curves]
    assert variances[0] == pytest.approx(variances[1], rel=1e-9)


def test_a_part_is_drawn_at_random_and_said(workshop: Any) -> None:
    store = workshop.store(patches=100)
    evaluation = evaluate({"m": workshop.model()}, store, max_patches=40)
    assert (evaluation.data.patches, evaluation.data.patches_in_split) == (40, 100)
    with pytest.raises(DataError, match="max_patches"):
        evaluate({"m": workshop.model()}, store, max_patches=0)


def test_models_come_back_as_they_were(workshop: Any) -> None:
    model = workshop.model()
    model.train()
    evaluate({"m": model}, workshop.store(patches=40))
    assert model.training


def test_progress_names_each_stage_and_is_whole_only_at_the_end(workshop: Any) -> None:
    said: list[tuple[int, int, str]] = []
    store = workshop.store(patches=40)
    evaluate({"m": workshop.model()}, store, progress=lambda done, total, note="": said.append((done, total, note)))
    done = [entry[0] for entry in said]
    assert done == sorted(done)
    assert done.index(100) == len(done) - 1
    assert {entry[1] for entry in said} == {100}
    assert list(dict.fromkeys(note.split(":")[0] for _, _, note in said)) == ["survey", "scores", "numbers"]
    assert {"survey: 40/40 patches", "scores: 40/40 patches"} <= {note for _, _, note in said}


def test_variance_by_signal_of_a_pair_of_frames_is_not_bent_by_the_error_of_its_clean_signal(tmp_path: Any) -> None:
    # Clean is the other frame: sorting pixels by it would halve the variance away from the mean.
    rng = np.random.default_rng(0)
    sigma, levels = 20.0, np.linspace(300, 2000, 60)
    with StoreWriter(tmp_path / "pairs.h5", layout="mono", patch_size=32, pairing="burst", provenance={}) as writer:
        for number, level in enumerate(levels):
            table = np.zeros(1, fields(1))
            table["camera"], table["iso"] = writer.label("cameras", "One"), 100
            table["scene"] = writer.label("scenes", f"{number}")
            table["source"] = writer.label("sources", "made")
            table["split"], table["white"], table["clean_variance"] = 2, 4095, 1.0
            first, second = level + sigma * rng.normal(size=(2, 1, 1, 32, 32))
            writer.append(np.rint(first), second, table)
    store = PatchStore(tmp_path / "pairs.h5")
    batch = store.read(np.arange(4))
    assert signal_dn(batch).var((2, 3)).max() == 0
    from_evaluation = evaluate({"m": Flat(sigma / 4095)}, store)
    bins = from_evaluation.scores["mean_variance"].curves[0].bins  # type: ignore[attr-defined]
    assert len(bins) > 15
    for bin_ in bins:
        moments = bin_.moments["data"]
        # Five standard errors in about twenty bins, and 1/24 DN² of rounding: once in 80,000.
        assert moments.variance == pytest.approx(sigma**2, abs=5 * moments.variance_error + 0.1)


def test_moments_of_a_bin_are_those_of_numpy(workshop: Any) -> None:
    store = workshop.store(noise=workshop.skewed, patches=60, signal=(500.0, 500.0))
    batch = store.read(np.arange(len(store)))
    span = (store.table["white"][:, None] - store.table["black"])[:, :, None, None]
    noise, clean = batch.noise.double().numpy() * span, batch.clean.double().numpy() * span
    bins = evaluate({"m": workshop.model()}, store).scores["mean_variance"].curves[0].bins  # type: ignore[attr-defined]
    assert sum(bin_.count for bin_ in bins) == noise.size
    for bin_ in bins[2:-2]:
        inside = noise[(clean >= bin_.low) & (clean < bin_.high)]
        moments = bin_.moments["data"]
        assert bin_.count == inside.size
        assert moments.mean == pytest.approx(inside.mean(), rel=1e-5, abs=1e-6)
        assert moments.variance == pytest.approx(inside.var(), rel=1e-5)
        assert moments.kurtosis == pytest.approx(((inside - inside.mean()) ** 4).mean() / inside.var() ** 2, rel=1e-4)


def test_json_has_no_nan_and_the_numbers_of_the_csv(workshop: Any) -> None:
    evaluation = evaluate({"m": workshop.model()}, workshop.store(groups=1, patches=40))

    def refuse(token: str) -> None:
        raise AssertionError(token)

    content = json.loads(evaluation.to_json(), parse_constant=refuse)
    assert content["scores"]["likelihood"]["cells"][0]["nats_per_dim"]["m"]["standard_error"] is None
    assert content["headline"] == evaluation.headline
    assert {record.measure for record in evaluation.records()} >= {
        "nll",
        "nll_dn",
        "kl",
        "kl_floor",
        "variance_ratio",
        "bin_variance",
        "row_ratio",
    }


def test_an_iso_without_any_noise_is_null_and_does_not_stop_the_rest(workshop: Any) -> None:
    def odd_patches_still(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        noise = rng.normal(size=shape)
        noise[1::2] = 0
        return noise

    isos = (100.0, 400.0)
    # One level of signal in whole codes, so that rounding makes no noise either.
    store = workshop.store(noise=odd_patches_still, isos=isos, patches=40, signal=(25.0, 25.0), ramp=0.0)
    evaluation = evaluate({"m": workshop.model(isos=isos)}, store)
    content = json.loads(evaluation.to_json())
    ratios = [cell["variance_ratio"]["m"]["value"] for cell in content["scores"]["marginal"]["cells"]]
    assert [ratio is None for ratio in ratios] == [False, False, True]
    page(evaluation)


# Bad input ------------------------------------------------------------------------------------------------------


class Flat(NoiseModel):
    """White Gaussian noise of one σ, normalised."""

    def __init__(self, sigma: float) -> None:
        super().__init__(module_spec("mono"))
        self.sigma = sigma

    def _log_prob(self, noise: Any, cond: Any) -> Any:
        return torch.distributions.Normal(0.0, self.sigma).log_prob(noise).sum((1, 2, 3))

    def _sample(self, cond: Any, generator: Any, temperature: float) -> Any:
        return torch.randn(cond.clean.shape, generator=generator) * self.sigma


def module_spec(layout: str) -> Any:
    from noiseflow.models.model import ModelSpec

    return ModelSpec("flat", layout, ("One",))


def test_an_empty_split_is_the_stores_error(workshop: Any) -> None:
    store = workshop.store(patches=40, split="train")
    with pytest.raises(StoreError, match="no patch in the split 'test'"):
        evaluate({"m": workshop.model()}, store)


def test_no_model_or_one_named_data(workshop: Any) -> None:
    store = workshop.store(patches=40)
    with pytest.raises(DataError, match="at least one"):
        evaluate({}, store)
    with pytest.raises(DataError, match="'data'"):
        evaluate({"data": workshop.model()}, store)


def test_an_unknown_camera_names_the_model(workshop: Any) -> None:
    with pytest.raises(ModelError, match=r"^mine: camera 'One'.*it knows Other"):
        evaluate({"mine": workshop.model(cameras=("Other",))}, workshop.store(patches=40))


def test_another_plane_layout(workshop: Any) -> None:
    with pytest.raises(ModelError, match=r"mine: its plane layout is 'mono2x2'.*'bayer'"):
        evaluate({"mine": workshop.model(layout="mono2x2")}, workshop.store(patches=40))


@pytest.mark.parametrize(("method", "what"), [("_log_prob", "log-density"), ("_sample", "sample")])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_model_that_gives_nan(
    workshop: Any, monkeypatch: pytest.MonkeyPatch, method: str, what: str, bad: float
) -> None:
    store, model = workshop.store(patches=40), workshop.model()
    right = getattr(model, method)

    def wrong(*arguments: Any) -> Any:
        result = right(*arguments)
        result[3] = bad
        return result

    monkeypatch.setattr(model, method, wrong)
    with pytest.raises(ModelError, match=rf"mine: its {what} is NaN or infinite on patches \[3\]"):
        evaluate({"mine": model}, store)


def test_frames_that_do_not_vary(workshop: Any) -> None:
    still = workshop.store(noise=lambda shape, rng: np.zeros(shape), patches=40, signal=(25.0, 25.0), ramp=0.0)
    with pytest.raises(DataError, match="clipped"):
        evaluate({"m": workshop.model()}, still)


def test_patches_clipped_throughout_are_said_and_nan_is_refused(workshop: Any) -> None:
    def store(name: str, clean: np.ndarray) -> PatchStore:
        with StoreWriter(workshop.folder / name, layout="bayer", patch_size=16, pairing="gt", provenance={}) as writer:
            table = np.zeros(len(clean), fields(4))
            table["camera"], table["source"] = writer.label("cameras", "One"), writer.source("made", "0")
            table["scene"] = [writer.label("scenes", f"scene {number % 10}") for number in range(len(clean))]
            table["iso"], table["black"], table["white"] = 100, workshop.black, workshop.white_level
            table["split"] = SPLITS.index("test")
            writer.append(np.full(clean.shape, workshop.white_level), clean, table)
        return PatchStore(workshop.folder / name)

    clean = np.broadcast_to(4100.0 + np.arange(40)[:, None, None, None], (40, 4, 16, 16))
    evaluation = evaluate({"m": workshop.model()}, store("clipped.h5", clean))
    assert "100.0 % of the pixels are clipped at code 0 or at the white level" in " ".join(evaluation.notes)
    assert "samples are off" in evaluation.headline
    with pytest.raises(DataError, match=r"NaN or infinite values in the clean signal of patches \[3\]"):
        evaluate(
            {"m": workshop.model()}, store("nan.h5", np.where(np.arange(40)[:, None, None, None] == 3, np.nan, clean))
        )
