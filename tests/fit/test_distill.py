"""Distillation against closed forms, and what it leaves behind."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import frame, gaussian_store
from model_table import generator

from noiseflow.core.errors import DataError, ModelError, OutputError
from noiseflow.fit.clean_sources import clean_frames, clean_patches, clean_pictures
from noiseflow.fit.distillation import DistillSettings, distill, divergence, sampling_seconds
from noiseflow.flows.camera.bent_scale import PARTS, BentScale
from noiseflow.models import ModelSpec, build, load
from noiseflow.models.flow.flow_model import ResidualFlow
from noiseflow.patches import PatchStore
from noiseflow.raw.formats.dng import write_dng

ISOS = (400.0, 1600.0)
SMALL = DistillSettings(steps=150, batch=8, width=8, held_out=32)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PatchStore:
    return gaussian_store(tmp_path_factory.mktemp("store") / "s.h5", patches=100, isos=ISOS)


def flow(name: str, **options: object) -> ResidualFlow:
    model = build(ModelSpec(name, "bayer", ("One",), ISOS, options)).eval()
    assert isinstance(model, ResidualFlow)
    return model


@pytest.fixture
def teacher() -> ResidualFlow:
    """Correlated noise: each value leans on those before it."""
    model = flow("maf", width=8, blocks=1)
    with torch.no_grad():
        output = model.flow.transforms[1].net.output
        output.weight += 0.2 * torch.randn(output.weight.shape, generator=generator(2))
    return model


def test_divergence_of_two_scales_is_the_closed_form(store: PatchStore) -> None:
    """KL of N(0, s²) from N(0, t²): log t/s + s²/2t² − ½; 4 standard errors: false alarm 6e-5."""
    student, other = flow("iaf"), flow("maf")
    with torch.no_grad():
        other.shot_read.log_beta1 += math.log(1.5)
        other.shot_read.log_beta2 += math.log(1.5)
    kl, error = divergence(student, other, clean_patches(store, student.spec), 200)
    expected = 0.5 * math.log(1.5) + 0.5 / 1.5 - 0.5
    assert error < 0.05 * expected
    assert abs(kl - expected) < 4 * error


def test_a_student_gets_closer_to_its_teacher_and_is_a_run_like_any_other(
    teacher: ResidualFlow, store: PatchStore, tmp_path: Path
) -> None:
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    clean = clean_patches(store, teacher.spec)
    result = distill(teacher, clean, tmp_path / "run", SMALL, held_out=clean_patches(store, teacher.spec, "val"))
    assert result.start_kl > 0.05
    assert result.kl < result.start_kl / 5
    assert result.kl > -4 * result.kl_error
    record = json.loads((tmp_path / "run" / "fit.json").read_text())
    assert record["kl_student_teacher_nats_per_dim"] == result.kl
    assert record["distilled_from"]["model"] == "maf"
    rows = [line.split(",") for line in (tmp_path / "run" / "history.csv").read_text().splitlines()]
    assert [float(row[0]) for row in rows[1:]] == [*range(0, 150, 8), 150]
    assert 1 / 3 < float(rows[-1][1]) / float(rows[-1][2]) < 3

    student = load(tmp_path / "run")
    assert (student.spec.model, student.cameras, student.spec.isos) == ("iaf", teacher.cameras, teacher.spec.isos)
    cond = clean(np.random.default_rng(0), 64)
    with torch.no_grad():
        noise = student.sample(cond, generator(3))
        ratio = (student.log_prob(noise, cond) - teacher.log_prob(noise, cond)) / noise[0].numel()
    # 64 samples of 256 dimensions; the standard error of their mean is stated by the samples themselves.
    assert abs(float(ratio.mean()) - result.kl) < 5 * (float(ratio.std()) / 8 + result.kl_error)
    assert all(parameter.requires_grad for parameter in teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_a_student_learns_the_bend_of_its_teacher(store: PatchStore, tmp_path: Path) -> None:
    """It starts as the same head with a straight response, whose KL is that of two scales, and says what is left."""
    bent = flow("physics_flow", bend=True)
    with torch.no_grad():
        assert isinstance(bent.shot_read, BentScale)
        bent.shot_read.bend += torch.linspace(0, -2, PARTS + 1)
    clean = clean_patches(store, bent.spec)
    result = distill(bent, clean, tmp_path / "run", replace(SMALL, steps=60))
    assert result.start_kl > 0.03
    assert -4 * result.kl_error < result.kl < result.start_kl / 2


def test_the_same_seed_gives_the_same_student(teacher: ResidualFlow, store: PatchStore, tmp_path: Path) -> None:
    few = DistillSettings(steps=4, batch=4, width=8, held_out=4)
    for name in "ab":
        distill(teacher, clean_patches(store, teacher.spec), tmp_path / name, few)
    a, b = (load(tmp_path / name).state_dict() for name in "ab")
    assert all(torch.equal(a[name], b[name]) for name in a)
    with pytest.raises(OutputError, match="pass --overwrite"):
        distill(teacher, clean_patches(store, teacher.spec), tmp_path / "a", few)


def test_a_student_is_faster(teacher: ResidualFlow) -> None:
    """A hundred times is what tools/workloads/distill.py asks for; a loaded machine may not give it here."""
    assert sampling_seconds(teacher, repeats=1) > 10 * sampling_seconds(flow("iaf", width=8), repeats=2)


def test_clean_signals_come_from_frames_and_from_pictures(tmp_path: Path) -> None:
    spec = ModelSpec("maf", "bayer", ("One", "Two"), ISOS)
    write_dng(tmp_path / "clean.dng", frame(np.full((128, 128), 300, np.uint16)))
    for source in (clean_frames(tmp_path, spec), clean_pictures(spec)):
        cond = source(np.random.default_rng(0), 40).resolve(spec.cameras)
        assert cond.clean.shape == (40, 4, 32, 32)
        assert 0 <= float(cond.clean.min()) <= float(cond.clean.max()) <= 1
        assert ((cond.iso > ISOS[0]) & (cond.iso < ISOS[1])).all()
        assert set(cond.camera.tolist()) == {0, 1}
    assert clean_pictures(ModelSpec("maf", "mono"))(np.random.default_rng(0), 2).clean.shape == (2, 1, 32, 32)


def test_what_cannot_be_distilled_says_why(teacher: ResidualFlow, store: PatchStore, tmp_path: Path) -> None:
    clean = clean_patches(store, teacher.spec)
    with pytest.raises(ModelError, match="nlf: has no shot-and-read head"):
        distill(build(ModelSpec("nlf")), clean, tmp_path / "run")
    with pytest.raises(DataError, match="steps: expected 1 or more"):
        distill(teacher, clean, tmp_path / "run", DistillSettings(steps=0))
    with pytest.raises(DataError, match="no raw frame"):
        clean_frames(tmp_path, teacher.spec)
    with pytest.raises(DataError, match="none of the model's cameras, Another"):
        clean_patches(store, ModelSpec("maf", "bayer", ("Another",)))
    with pytest.raises(DataError, match="contains 'bayer' planes"):
        clean_patches(store, ModelSpec("maf", "mono"))
    assert not (tmp_path / "run").exists()
