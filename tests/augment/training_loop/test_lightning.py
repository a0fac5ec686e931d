"""`AddCameraNoise` under Lightning, where it is installed: data modules, checkpoints, precisions and `ddp_spawn`."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from model_table import generator, randomised_model
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from noiseflow.augment import AddCameraNoise, NoisyBatch

lightning = pytest.importorskip("pytorch_lightning", reason="Lightning is not installed; see make test-adapters")
pytestmark = pytest.mark.filterwarnings("ignore")

COUNT, BATCH = 8, 2


def augmentation() -> AddCameraNoise:
    return AddCameraNoise(
        randomised_model("physics_flow", "bayer", spread=0.03, couplings=2).float(), iso=400.0, seed=9
    )


def picture(index: int) -> Tensor:
    return torch.rand(4, 6, 8, generator=generator(index))


class Noised(Dataset[NoisyBatch]):
    """Noise made by the workers."""

    def __init__(self) -> None:
        self.add = augmentation()

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> NoisyBatch:
        return self.add(picture(index), [index])


class Keyed(Dataset[tuple[int, Tensor]]):
    """Clean pictures and their numbers: noise is made by the module."""

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        return index, picture(index)


class Data(lightning.LightningDataModule):  # type: ignore[misc]
    def __init__(self, dataset: Dataset[Any]) -> None:
        super().__init__()
        self.dataset = dataset

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.dataset, BATCH)


class Denoiser(lightning.LightningModule):  # type: ignore[misc]
    """A layer with the noise within; `seen` is what it was given, by the picture's number."""

    def __init__(self, folder: str = "") -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Conv2d(8, 4, 1)
        self.add = augmentation()
        self.seen: dict[int, Tensor] = {}

    def training_step(self, batch: Any, _: int) -> Tensor:
        if not isinstance(batch, NoisyBatch):
            index, clean = batch
            batch = self.add(clean, index.tolist())
            self.seen |= dict(zip(index.tolist(), batch.noisy.detach().clone(), strict=True))
        given = torch.cat([batch.noisy, batch.noise_level], 1)
        assert given.dtype == next(self.net.parameters()).dtype
        loss: Tensor = (self.net(given) - batch.clean).square().mean()
        return loss

    def on_train_end(self) -> None:
        if folder := self.hparams["folder"]:
            torch.save(self.seen, Path(folder) / f"{self.global_rank}.pt")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(folder: Path, **how: Any) -> Any:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    settings = {"accelerator": "cpu", "devices": 1, "max_epochs": 1, "default_root_dir": folder}
    return lightning.Trainer(**(quiet | settings | how))


def as_in_one_process(seen: dict[int, Tensor]) -> None:
    """All pictures have the noise that one call on one batch gives them."""
    expected = augmentation()(torch.stack([picture(index) for index in range(COUNT)]), range(COUNT)).noisy
    torch.testing.assert_close(torch.stack([seen[index] for index in range(COUNT)]), expected, rtol=1e-6, atol=1e-7)


def test_a_checkpoint_has_the_users_weights_alone_and_goes_on(tmp_path: Path) -> None:
    module = Denoiser()
    run = trainer(tmp_path)
    run.fit(module, Data(Keyed()))
    as_in_one_process(module.seen)
    run.save_checkpoint(tmp_path / "a.ckpt")
    saved = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert set(saved["state_dict"]) == {"net.weight", "net.bias"}
    again = Denoiser.load_from_checkpoint(tmp_path / "a.ckpt")
    assert torch.equal(again.net.weight, module.net.weight)
    resumed = Denoiser()
    trainer(tmp_path, max_epochs=2).fit(resumed, Data(Keyed()), ckpt_path=tmp_path / "a.ckpt")
    as_in_one_process(resumed.seen)
    assert not torch.equal(resumed.net.weight, module.net.weight)


@pytest.mark.parametrize("precision", ["32-true", "bf16-true", "64-true", "bf16-mixed"])
def test_batches_of_a_data_module_move_in_any_precision(precision: str, tmp_path: Path) -> None:
    for dataset in (Noised(), Keyed()):
        module = Denoiser()
        before = module.net.weight.detach().clone()
        trainer(tmp_path, precision=precision, enable_checkpointing=False).fit(module, Data(dataset))
        assert torch.isfinite(module.net.weight).all()
        assert not torch.equal(module.net.weight.float(), before)
        flow = module.add.models[0].flow
        assert {each.dtype for each in flow.parameters()} == {torch.float32}


def test_ddp_spawn_draws_what_one_process_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, __import__("sys").path)))
    trainer(tmp_path, strategy="ddp_spawn", devices=2, enable_checkpointing=False).fit(
        Denoiser(str(tmp_path)), Data(Keyed())
    )
    seen: dict[int, Tensor] = {}
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert len(found) == COUNT // 2
        seen |= found
    as_in_one_process(seen)
