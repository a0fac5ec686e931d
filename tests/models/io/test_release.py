"""What becomes of the folder of a start that failed."""

from pathlib import Path

import pytest

from noiseflow.core.output.listed import write_listed, write_listed_folder
from noiseflow.models.io.run_folder import STATE, release, save
from noiseflow.models.model import ModelSpec, build


@pytest.mark.parametrize(
    ("beside", "kept"),
    [
        ((), False),
        (("spec",), False),
        (("spec", "weights"), True),
        (("state",), True),
        (("foreign",), True),
    ],
)
def test_only_what_holds_neither_model_nor_state_nor_foreign_files_is_removed(
    tmp_path: Path, beside: tuple[str, ...], kept: bool
) -> None:
    run = tmp_path / "run"
    save(build(ModelSpec("gaussian", "bayer", ("A",), (100.0,))), run)
    write_listed(run, "history.csv", b"epoch\n")
    for name, file in (("spec", "spec.json"), ("weights", "model.safetensors")):
        if name not in beside:
            (run / file).unlink()
    if "state" in beside:
        write_listed_folder(run, f"{STATE}/12", {"optimiser.bin": b"x"})
    if "foreign" in beside:
        (run / "notes.txt").write_text("mine")
    release(run)
    assert run.exists() == kept
    release(tmp_path / "nowhere")
