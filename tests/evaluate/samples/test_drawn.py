"""A folder of samples is scored as the model that drew them, and samples for other signals are refused."""

import hashlib
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from noiseflow.cli import main
from noiseflow.core.errors import ModelError
from noiseflow.evaluate import Evaluation, evaluate
from noiseflow.evaluate.samples.drawn import DrawnSamples, read_samples
from noiseflow.evaluate.samples.task import write_clean_patches
from noiseflow.flows.conditions import Conditions
from noiseflow.models.model import ModelSpec, NoiseModel
from noiseflow.patches.store.store import PatchStore

DENSITY = {"nll", "nll_codes", "calibration"}
"""Measures of a density, which samples have not."""


def written(task: Path, out: Path, kind: str, values: np.ndarray, suffix: str = ".npy", **more: object) -> Path:
    out.mkdir()
    digest = json.loads((task / "task.json").read_text())["clean_sha256"]
    (out / "samples.json").write_text(json.dumps({"clean_sha256": digest, **more}))
    path = out / f"{kind}{suffix}"
    if suffix == ".npy":
        np.save(path, values)
    elif suffix == ".npz":
        np.savez(path, **{kind: values})
    else:
        with h5py.File(path, "w") as file:
            file[kind] = values
    return out


def drawn(model: NoiseModel, store: PatchStore, task: Path, seed: int) -> Tensor:
    """What another program would do: read the clean patches, and draw."""
    clean = torch.from_numpy(np.load(task / "clean.npy"))
    rows = store.indices("test")
    cond = Conditions(clean, torch.from_numpy(store.table["iso"][rows].astype(np.float64)), 0)
    return model.sample(cond, torch.Generator().manual_seed(seed))


def figures(evaluation: Evaluation, name: str) -> dict[tuple[Any, ...], Any]:
    return {
        (record.measure, record.camera, record.iso, record.part): record
        for record in evaluation.records()
        if record.model == name
    }


@pytest.mark.parametrize("fault", [{}, {"factor": 1.1}], ids=["right", "variance +10 %"])
def test_the_figures_are_those_of_the_model_within_their_intervals(
    workshop: Any, tmp_path: Path, fault: dict[str, float]
) -> None:
    """Each of two draws has its own interval of 95 % or more; both must hold what the other says."""
    store, model = workshop.store(), workshop.model(**fault)
    task = write_clean_patches(store, tmp_path / "task")
    folder = written(task, tmp_path / "gan", "noise", drawn(model, store, task, 5).numpy(), name="own")
    ours = evaluate({"own": model}, store)
    theirs = evaluate({"own": read_samples(folder, store, "test")}, store)
    of_model, of_samples = figures(ours, "own"), figures(theirs, "own")
    compared = 0
    for place, record in of_samples.items():
        other = of_model[place]
        if record.low is None or other.low is None or record.high is None or other.high is None:
            continue
        compared += 1
        assert record.low <= other.high, (place, record, other)
        assert other.low <= record.high, (place, record, other)
    assert compared > 60
    levels = [
        {finding.measure: finding.level for finding in each.findings if finding.measure not in DENSITY}
        for each in (ours, theirs)
    ]
    assert levels[0]["variance"] == levels[1]["variance"]
    assert ("bad" in levels[1].values()) == bool(fault)
    assert "“samples from another program have no density”" in theirs.notes[0]


class Recorder(NoiseModel):
    """Another model that writes down what it drew."""

    def __init__(self, model: NoiseModel) -> None:
        super().__init__(model.spec)
        self.model, self.drawn = model, []  # type: ignore[var-annotated]

    def _log_prob(self, noise: Tensor, cond: Conditions) -> Tensor:
        return self.model._log_prob(noise, cond)

    def _sample(self, cond: Conditions, generator: Any, temperature: float) -> Tensor:
        self.drawn.append(self.model._sample(cond, generator, temperature))
        return self.drawn[-1]


def test_the_same_samples_give_the_same_figures(workshop: Any, tmp_path: Path) -> None:
    store, recorder = workshop.store(patches=200), Recorder(workshop.model())
    ours = evaluate({"own": recorder}, store)
    task = write_clean_patches(store, tmp_path / "task")
    # Its later draws are for a bound of the likelihood.
    noise = recorder.drawn[0].numpy()
    theirs = evaluate(
        {"own": read_samples(written(task, tmp_path / "s", "noise", noise, name="own"), store, "test")}, store
    )
    for name in ("marginal", "mean_variance", "conditional", "tails", "row_noise", "structure", "two_sample"):
        assert theirs.scores[name] == ours.scores[name], name


@pytest.mark.parametrize(("kind", "suffix"), [("noise", ".npz"), ("noisy", ".npy"), ("codes", ".h5")])
def test_noise_noisy_signals_and_codes_mean_the_same(workshop: Any, tmp_path: Path, kind: str, suffix: str) -> None:
    store, model = workshop.store(patches=40), workshop.model(step=1.0)
    task = write_clean_patches(store, tmp_path / "task")
    noise = drawn(model, store, task, 1).double().numpy()
    clean, rows = np.load(task / "clean.npy").astype(np.float64), store.indices("test")
    table = store.table[rows]
    black = table["black"].astype(np.float64)[:, :, None, None]
    codes = (noise + clean) * (table["white"][:, None, None, None] - black) + black
    assert codes == pytest.approx(np.rint(codes), abs=2e-3)
    values = {"noise": noise, "noisy": noise + clean, "codes": np.rint(codes).astype(np.uint16)}[kind]
    model = read_samples(written(task, tmp_path / "s", kind, values, suffix), store, "test")
    read = store.read(rows[3:9])
    found = model.samples_of(rows[3:9], read.clean, read.table)
    assert found.numpy() == pytest.approx(noise[3:9], abs=1e-6)
    assert model.spec.model == "s"


def test_samples_before_rounding_are_rounded(workshop: Any, tmp_path: Path) -> None:
    store, model = workshop.store(patches=200), workshop.model()
    task = write_clean_patches(store, tmp_path / "task")
    noise = drawn(model, store, task, 1).numpy()
    for name, said in (("as they are", {}), ("rounded", {"before_rounding": True})):
        folder = written(task, tmp_path / name, "noise", noise, name="own", **said)
        found = evaluate({"own": read_samples(folder, store, "test")}, store).scores["quantisation"]
        on_codes = found.cells[0].on_codes["own"]  # type: ignore[attr-defined]
        assert on_codes == pytest.approx(1.0 if said else 0.04, abs=0.01)


def test_the_checksum_is_that_of_the_array_as_anyone_computes_it(workshop: Any, tmp_path: Path) -> None:
    store = workshop.store(patches=40)
    task = write_clean_patches(store, tmp_path / "task")
    clean = np.load(task / "clean.npy")
    assert clean.dtype == np.float32
    content = json.loads((task / "task.json").read_text())
    assert hashlib.sha256(clean.tobytes()).hexdigest() == content["clean_sha256"]
    assert content["shape"] == list(clean.shape)
    lines = (task / "conditions.csv").read_text().splitlines()
    assert lines[0] == "camera,iso,scene,frame,y,x,black_R_dn,black_G1_dn,black_G2_dn,black_B_dn,white_dn"
    assert lines[1] == "One,100,scene 0,0,0,0,100,150,200,250,4200"
    assert len(lines) == 1 + len(clean)


def test_what_was_drawn_for_other_signals_is_refused(workshop: Any, tmp_path: Path) -> None:
    store = workshop.store(patches=40)
    other = workshop.store(patches=40, signal=(30.0, 2600.0), name="other.h5")
    task = write_clean_patches(other, tmp_path / "task")
    noise = np.zeros((40, 4, 16, 16), np.float32)
    folder = written(task, tmp_path / "s", "noise", noise)
    with pytest.raises(ModelError, match=r"samples\.json: the samples are for other clean signals .*patches\.h5"):
        read_samples(folder, store, "test")
    model = read_samples(folder, other, "test")
    with pytest.raises(ModelError, match="it cannot sample for other clean signals"):
        model.sample(Conditions(torch.zeros(1, 4, 16, 16), 100.0, "One"))
    for values, message in (
        (noise[:-1], r"expected real numbers of shape \(40, 4, 16, 16\); got float32 of shape \(39"),
        (noise.astype(bool), "got bool"),
    ):
        np.save(folder / "noise.npy", values)
        with pytest.raises(ModelError, match=message):
            read_samples(folder, other, "test")
    noise[7, 0, 0, 0] = np.nan
    np.save(folder / "noise.npy", noise)
    with pytest.raises(ModelError, match=r"samples \[7\] contain NaN or infinite values"):
        evaluate({"s": read_samples(folder, other, "test")}, other)


@pytest.mark.parametrize("rows", [[0], [3], [9], [2, 9], [2, 3]])
def test_rows_between_and_beyond_those_that_were_drawn_are_refused(rows: list[int]) -> None:
    samples = np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2)
    model = DrawnSamples(ModelSpec("samples", "mono"), Path("s.npy"), "noise", samples, np.array([2, 5]))
    clean = torch.zeros(2, 1, 2, 2)
    assert np.array_equal(model.samples_of(np.array([5, 2]), clean, np.zeros(2)), samples[::-1])
    with pytest.raises(ModelError, match=r"s\.npy: has no samples for some of these patches"):
        model.samples_of(np.array(rows), clean[: len(rows)], np.zeros(len(rows)))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"samples.json": b"{}"}, "samples.json"),
        ({"samples.json": b'{"clean_sha256": "0"}'}, "clean_sha256"),
        ({"noise.npy": None}, "expected one of noise, noisy and codes as .npy, .npz or .h5; got none"),
        ({"codes.npy": b"1"}, r"got noise\.npy, codes\.npy"),
        ({"noise.npy": b"nonsense"}, r"noise\.npy: cannot be read"),
        ({"name": "nlf"}, "'nlf' is reserved"),
    ],
)
def test_damage_is_named(workshop: Any, tmp_path: Path, files: dict[str, Any], message: str) -> None:
    store = workshop.store(patches=40)
    task = write_clean_patches(store, tmp_path / "task")
    more = {"name": files["name"]} if "name" in files else {}
    folder = written(task, tmp_path / "s", "noise", np.zeros((40, 4, 16, 16), np.float32), **more)
    for name, content in files.items():
        if content is None:
            (folder / name).unlink()
        elif isinstance(content, bytes):
            (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read_samples(folder, store, "test")


def test_from_the_command_line(workshop: Any, tmp_path: Path) -> None:
    store = workshop.store(patches=40, groups=8)
    result = CliRunner().invoke(main, ["clean-patches", str(store.path), "--out", str(tmp_path / "task")])
    assert result.exit_code == 0, result.output
    assert "40 patches of 4 × 16 × 16, split test" in result.stdout
    folder = written(tmp_path / "task", tmp_path / "s", "noise", np.zeros((40, 4, 16, 16), np.float32), name="none")
    result = CliRunner().invoke(main, ["evaluate", str(folder), str(store.path), "--out", str(tmp_path / "report")])
    # The store has no training patches for the baselines: its reason, and not that of the samples.
    assert result.exit_code == 1
    assert "no patch in the split 'train'" in result.stderr
