"""One cell of the table: train a denoiser with one noise, score it on held-out true noise."""

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tools.denoising.cameras import Planes, Sensor
from tools.denoising.networks import DnCNN, build_network
from tools.denoising.sources import Expose, source

__all__ = ["Settings", "batches", "held_out", "run_cell", "scores", "train"]

AVERAGE = 0.99
"""What the average of the weights keeps at each step."""

AHEAD = 16
"""Steps whose noise is drawn at once: of a few crops a call, a flow costs more than the training."""


@dataclass(frozen=True)
class Settings:
    """How every denoiser is trained.

    Parameters
    ----------
    steps, batch : int
        Steps of the training; crops in each of them.
    crop : int
        Height and width of a crop, pixels of a plane.
    learning_rate : float
        Of Adam at its highest: it rises over the first twentieth of the steps, and falls to 0 along a cosine.
    """

    steps: int = 1000
    batch: int = 16
    crop: int = 32
    learning_rate: float = 2e-3


def batches(
    clean: Planes, isos: tuple[float, ...], settings: Settings, seed: int
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Clean crops, their ISOs and a seed for their noise, step by step; they depend on the seed alone."""
    rng = np.random.default_rng(seed)
    crop = settings.crop
    for _ in range(settings.steps):
        pictures = rng.integers(len(clean), size=settings.batch)
        tops, lefts = (rng.integers(length - crop + 1, size=settings.batch) for length in clean.shape[2:])
        mirrored = rng.random(settings.batch) < 0.5
        windows = []
        for picture, top, left, mirror in zip(pictures, tops, lefts, mirrored, strict=True):
            window = clean[picture, :, top : top + crop, left : left + crop]
            windows.append(window[..., ::-1] if mirror else window)
        iso = rng.choice(isos, settings.batch).astype(np.float32)
        yield torch.from_numpy(np.stack(windows)), torch.from_numpy(iso), int(rng.integers(2**62))


def exposed(steps: Iterator[tuple[Tensor, Tensor, int]], expose: Expose) -> Iterator[tuple[Tensor, Tensor]]:
    """Clean and noisy crops, step by step; the noise of `AHEAD` steps is drawn at once, by the seed of the first."""
    while group := list(islice(steps, AHEAD)):
        clean, iso = (torch.cat(parts) for parts in list(zip(*group, strict=True))[:2])
        noisy = expose(clean, iso, group[0][2])
        size = len(group[0][0])
        yield from zip(clean.split(size), noisy.split(size), strict=True)


def train(camera: Sensor, network: nn.Module, expose: Expose, settings: Settings, seed: int) -> nn.Module:
    """Train a network on mean square error; pictures are brightened to white at 1 first.

    The same seed gives the same crops in the same order whatever the noise is.
    """
    network = network.train().to(memory_format=torch.channels_last)
    # Of the steps' noise an average keeps less than the last step does.
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE))
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    warm = max(1, settings.steps // 20)

    def rate(step: int) -> float:
        return min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * step / settings.steps)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    for clean, noisy in exposed(batches(camera.train(), camera.isos, settings, seed), expose):
        optimizer.zero_grad(set_to_none=True)
        # With bfloat16 arithmetic plain convolutions take two thirds of the time; weights and loss stay in float32.
        with torch.autocast("cpu", torch.bfloat16, enabled=isinstance(network, DnCNN)):
            denoised = network((noisy / camera.light).contiguous(memory_format=torch.channels_last))
        loss = (denoised.float() - clean / camera.light).square().mean()
        loss.backward()
        optimizer.step()
        schedule.step()
        averaged.update_parameters(network)
    average: nn.Module = averaged.module
    return average.eval()


def held_out(camera: Sensor) -> Iterator[tuple[Planes, Planes, float]]:
    """Held-out pictures with true noise, and their ISO: brightened, the same at every call."""
    for index, clean in enumerate(camera.test()):
        for iso in camera.isos:
            noisy = camera.expose(clean, iso, np.random.default_rng((4, index, round(iso))), held_out=True)
            yield clean / camera.light, noisy / camera.light, iso


def scores(denoised: NDArray[Any], clean: NDArray[Any]) -> dict[str, float]:
    """PSNR in dB and SSIM of planes (4, h, w), both clipped to [0, 1]; SSIM with the Gaussian window of the paper."""
    denoised, clean = (np.clip(each, 0, 1).astype(np.float64) for each in (denoised, clean))
    psnr = -10 * math.log10(float(np.mean((denoised - clean) ** 2)))
    ssim = structural_similarity(
        denoised, clean, channel_axis=0, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return {"psnr": psnr, "ssim": float(ssim)}


@torch.no_grad()
def denoise(network: nn.Module, noisy: Planes) -> Planes:
    """A whole picture, (4, h, w)."""
    denoised: Planes = network(torch.from_numpy(noisy)[None])[0].numpy()
    return denoised


def run_cell(
    camera: Sensor, network: str, noise: str, seed: int, settings: Settings, out: Path, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Train and score one cell; its record is written when all is done, with `facts` in it.

    Returns
    -------
    dict
        Mean PSNR and SSIM, and lists over the held-out pictures.
    """
    began = time.monotonic()
    trained = train(camera, build_network(network, seed), source(camera, noise), settings, seed)
    every, pictures = [], []
    for clean, noisy, _ in held_out(camera):
        pictures.append(denoise(trained, noisy))
        every.append(scores(pictures[-1], clean))
    record = {
        **facts,
        "network": network,
        "noise": noise,
        "seed": seed,
        "settings": asdict(settings),
        **{name: float(np.mean([each[name] for each in every])) for name in ("psnr", "ssim")},
        "pictures": every,
        "seconds": round(time.monotonic() - began, 1),
    }
    np.save(out.with_suffix(".npy"), np.stack(pictures).astype(np.float16))
    partial = out.with_name(out.name + ".partial")
    partial.write_text(json.dumps(record, indent=1), encoding="utf-8")
    os.replace(partial, out)
    return record
