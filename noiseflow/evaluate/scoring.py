"""One batch of real noise with what the models say of it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.errors import ModelError
from noiseflow.evaluate.data_summary import scale_dn, signal_dn
from noiseflow.evaluate.likelihood_kind import codes_nll, log_density
from noiseflow.evaluate.metric import DATA, ScoredBatch, Setup, seed_for
from noiseflow.flows.conditions import Conditions
from noiseflow.models.adc_levels import Levels
from noiseflow.models.integers.dequantise import Dequantiser
from noiseflow.models.model import NoiseModel
from noiseflow.patches.store.patches import PatchBatch
from noiseflow.patches.store.store import PatchStore

__all__ = ["as_wanted", "score_batch"]


def as_wanted(model: NoiseModel, read: PatchBatch, camera_of: Tensor) -> tuple[Tensor, Conditions]:
    """Noise and conditions on the model's device and in its precision."""
    like = next(iter(model.parameters()), read.noise)
    device, dtype = like.device, like.dtype
    cond = Conditions(read.clean.to(device, dtype), read.iso.to(device, dtype), camera_of[read.camera].to(device))
    return read.noise.to(device, dtype), cond


def score_batch(
    models: Mapping[str, NoiseModel],
    camera_of: Mapping[str, Tensor],
    store: PatchStore,
    read: PatchBatch,
    setup: Setup,
    start: int,
    latent_left: int,
) -> ScoredBatch:
    """What the models say of a batch of real noise, and samples of each.

    Parameters
    ----------
    models : mapping of str to NoiseModel
    camera_of : mapping of str to Tensor of long
        The index of each of the store's cameras in each model.
    store : PatchStore
        Named where a number is not finite.
    read : PatchBatch
    setup : Setup
    start : int
        Position of its first patch in `Survey.rows`.
    latent_left : int
        Patches whose latent is still to be looked at.

    Raises
    ------
    ModelError
        If a density or a sample is not finite.
    """
    found = setup.survey
    number = np.arange(start, start + len(read.camera))
    group, close = found.group[number], found.close[number]
    cell = found.cell_of_group[group]
    chosen = np.flatnonzero(close)[:latent_left]
    scale, clean_variance = scale_dn(read), read.table["clean_variance"].astype(np.float64)
    code = 1 / (scale * np.sqrt(1.0 + clean_variance)[:, None])
    blurred = _blurred(read.noise, code, setup.seed, DATA, start)
    noise, nll, of_codes, latents = {DATA: read.noise}, {}, {}, {}
    looked_at = np.flatnonzero(close)
    levels = Levels.of(read.table[looked_at])
    for name, model in models.items():
        real, cond = as_wanted(model, read, camera_of[name])
        if name in setup.densities:
            nll[name] = -log_density(model, real, cond).double().cpu().numpy()
        generator = torch.Generator(real.device).manual_seed(seed_for(setup.seed, "sample", name, start))
        sampled = model.sample(cond, generator)
        if model.spec.before_rounding:
            sampled = Levels.of(read.table, real.device).rounded(sampled, cond.clean)
        noise[name] = sampled.cpu().float()
        for what, finite in (
            ("log-density", np.isfinite(nll.get(name, np.zeros(len(number))))),
            ("sample", torch.isfinite(noise[name]).all(3).all(2).all(1).numpy()),
        ):
            if not finite.all():
                bad = found.rows[number][~finite][:5].tolist()
                raise ModelError(
                    f"{name}: its {what} is NaN or infinite on patches {bad} of {store.path}; is it fitted?"
                )
        if name in setup.codes and len(looked_at):
            drawn = torch.Generator(real.device).manual_seed(seed_for(setup.seed, "codes", name, start))
            of_codes[name] = codes_nll(model, real[looked_at], _some(cond, looked_at), levels.to(real.device), drawn)
            finite = np.isfinite(of_codes[name].total)
            if not finite.all():
                bad = found.rows[number][looked_at][~finite][:5].tolist()
                raise ModelError(
                    f"{name}: the log-probability of the codes is NaN or infinite on patches {bad} of {store.path}: "
                    "its density is 0 there"
                )
        if len(chosen):
            drawn = torch.Generator(real.device).manual_seed(seed_for(setup.seed, "latent", name, start))
            within = blurred.to(real.device, real.dtype)[chosen]
            if model.spec.before_rounding:
                within = _within_codes(model, real[chosen], _some(cond, chosen), read.table[chosen], drawn)
            z = model.latent(within, _some(cond, chosen))
            if z is not None:
                latents[name] = z.cpu().float()
    signal = signal_dn(read)
    sigma = found.curve.at(signal.float() / torch.from_numpy(scale).float()[:, :, None, None], cell)
    all_blurred = {
        name: blurred if name == DATA else _blurred(values, code, setup.seed, name, start)
        for name, values in noise.items()
    }
    return ScoredBatch(
        noise=noise,
        nll=nll,
        codes=of_codes,
        looked_at=looked_at,
        blurred=all_blurred,
        residual={name: values / sigma for name, values in all_blurred.items()},
        clean=read.clean,
        signal_dn=signal,
        number=number,
        group=group,
        cell=cell,
        close=close,
        latent=latents,
        latent_group=group[chosen],
        row=read.table["y"].astype(np.int64),
        scale_dn=scale,
        black_dn=read.table["black"].astype(np.float64),
        clean_variance=clean_variance,
        code=code,
    )


def _some(cond: Conditions, rows: NDArray[np.int64]) -> Conditions:
    return Conditions(cond.clean[rows], cond.isos[rows], cond.camera_indices[rows])


def _within_codes(
    model: NoiseModel, noise: Tensor, cond: Conditions, table: NDArray[Any], generator: torch.Generator
) -> Tensor:
    """Analogue noise within each code, as the model's own σ has it: a randomised quantile of the code."""
    levels = Levels.of(table, noise.device)
    cells = levels.cells(levels.codes(noise, cond.clean), cond.clean)
    analogue: Tensor = Dequantiser()(cells, cond, model.scale(cond, generator), generator)[0]
    return analogue.to(noise.dtype)


def _blurred(noise: Tensor, code: NDArray[np.float64], seed: int, name: str, start: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed_for(seed, "blur", name, start))
    half_codes = torch.rand(noise.shape, generator=generator).sub_(0.5)
    return half_codes.mul_(torch.from_numpy(code)[:, :, None, None].float()).add_(noise)
