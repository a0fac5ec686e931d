"""Scoring of one batch of real noise: likelihoods, samples and latents of each model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseflow.core.errors import ModelError
from noiseflow.evaluate.data_summary import scale_dn, signal_dn
from noiseflow.evaluate.metric import DATA, CodesNll, ScoredBatch, Setup, seed_for
from noiseflow.fit.signal_of_few_frames import signal_of
from noiseflow.flows.conditions import Resolved
from noiseflow.models.adc_levels import Levels
from noiseflow.models.capabilities import HasDrawnSamples, HasLatent, approximate_sigma, latent
from noiseflow.models.integers.dequantise import Dequantiser
from noiseflow.models.integers.discrete_log_prob import discrete_log_prob
from noiseflow.models.model import NoiseModel
from noiseflow.patches.store.patches import PatchBatch
from noiseflow.patches.store.store import PatchStore

__all__ = ["Scorer", "for_model"]


def for_model(
    model: NoiseModel, read: PatchBatch, camera_of: Tensor, signal: Tensor | None = None
) -> tuple[Tensor, Resolved]:
    """Move the noise and conditions of a batch to a model's device and precision.

    Parameters
    ----------
    model : NoiseModel
        The model.
    read : PatchBatch
        Patches as read from the store.
    camera_of : Tensor of long, shape (cameras of the store,)
        Index in the model of each of the store's cameras.
    signal : Tensor, shape (B, C, h, w), optional
        The patches' `signal_of`, on which models are conditioned, if it is known already.

    Returns
    -------
    noise : Tensor, shape (B, C, h, w)
        Normalised noise.
    cond : Resolved
        Conditions with the model's camera indices.
    """
    like = next(iter(model.parameters()), read.noise)
    device, dtype = like.device, like.dtype
    observed = None if read.observed is None else read.observed.to(device)
    signal = signal_of(read) if signal is None else signal
    clean, iso = signal.to(device, dtype), read.iso.to(device, dtype)
    cond = Resolved(clean, iso, camera_of[read.camera].to(device), observed)
    return read.noise.to(device, dtype), cond


@dataclass(frozen=True, eq=False)
class Scorer:
    """Scores batches of real noise.

    Parameters
    ----------
    models : mapping of str to NoiseModel
        Models by name.
    camera_of : mapping of str to Tensor of long
        Per model, its index of each of the store's cameras.
    store : PatchStore
        Store of the patches, for messages.
    setup : Setup
        Summary of data and models.
    """

    models: Mapping[str, NoiseModel]
    camera_of: Mapping[str, Tensor]
    store: PatchStore
    setup: Setup

    def score(self, read: PatchBatch, start: int, latent_left: int) -> ScoredBatch:
        """Score a batch with every model, and sample from each.

        Parameters
        ----------
        read : PatchBatch
            The patches.
        start : int
            Position of the first patch in `Survey.rows`.
        latent_left : int
            Largest number of patches whose latent to compute.

        Returns
        -------
        ScoredBatch
            The batch with all results.

        Raises
        ------
        ModelError
            A density or a sample is not finite.
        """
        found, seed = self.setup.survey, self.setup.seed
        number = np.arange(start, start + len(read.camera))
        group = found.group[number]
        cell, looked_at = found.cell_of_group[group], np.flatnonzero(found.close[number])
        latent_of = looked_at[:latent_left]
        scale, clean_variance = scale_dn(read), read.table["clean_variance"].astype(np.float64)
        code = 1 / (scale * np.sqrt(1.0 + clean_variance)[:, None])
        blurred = {DATA: _blurred(read.noise, code, seed, DATA, start)}
        noise, nll, codes, latents = {DATA: read.noise}, {}, {}, {}
        conditioned = signal_of(read)
        for name, model in self.models.items():
            batch = _ModelBatch(self, name, model, read, conditioned, start)
            if name in self.setup.densities:
                nll[name] = batch.nll()
            noise[name] = batch.sample()
            blurred[name] = _blurred(noise[name], code, seed, name, start)
            if name in self.setup.codes and len(looked_at):
                codes[name] = batch.codes(looked_at)
            latent = batch.latent(latent_of, blurred[DATA]) if len(latent_of) else None
            if latent is not None:
                latents[name] = latent
        signal = signal_dn(read)
        sigma = found.curve.at(signal.float() / torch.from_numpy(scale).float()[:, :, None, None], cell)
        return ScoredBatch(
            noise=noise,
            nll=nll,
            codes=codes,
            looked_at=looked_at,
            blurred=blurred,
            residual={name: values / sigma for name, values in blurred.items()},
            clean=read.clean,
            signal_dn=signal,
            number=number,
            group=group,
            cell=cell,
            close=found.close[number],
            latent=latents,
            latent_group=group[latent_of],
            row=read.table["y"].astype(np.int64),
            scale_dn=scale,
            black_dn=read.table["black"].astype(np.float64),
            clean_variance=clean_variance,
            code=code,
        )


class _ModelBatch:
    """One model on one batch; all results are checked to be finite."""

    def __init__(
        self, scorer: Scorer, name: str, model: NoiseModel, read: PatchBatch, signal: Tensor, start: int
    ) -> None:
        self.scorer, self.name, self.model, self.read, self.start = scorer, name, model, read, start
        self.real, self.cond = for_model(model, read, scorer.camera_of[name], signal)

    def nll(self) -> NDArray[np.float64]:
        """Return −log density, nats summed over dimensions, shape (B,); masked pixels count as the mean of the rest."""
        nll: NDArray[np.float64] = -self.model.log_prob(self.real, self.cond).double().cpu().numpy()
        nll *= self._whole(self.cond)
        self._check("log-density", nll, "is the model fitted?")
        return nll

    def sample(self) -> Tensor:
        """Return sampled noise, shape (B, C, h, w), rounded to codes if the model describes noise before rounding."""
        if isinstance(self.model, HasDrawnSamples):
            rows = self.scorer.setup.survey.rows[self.start : self.start + len(self.read.table)]
            sampled = self.model.samples_of(rows, self.cond.clean, self.read.table)
        else:
            sampled = self.model.sample(self.cond, self._generator("sample"))
        if self.model.spec.before_rounding:
            sampled = self._levels().rounded(sampled, self.cond.clean)
        noise: Tensor = sampled.cpu().float()
        finite = torch.isfinite(noise).flatten(1).all(1).numpy()
        self._check("sample", np.where(finite, 0.0, np.nan), "is the model fitted?")
        # Masked pixels get the same noise in all sources, so that they make no difference.
        return noise if self.read.observed is None else torch.where(self.read.observed, noise, self.read.noise)

    def codes(self, rows: NDArray[np.int64]) -> CodesNll:
        """Return −log probability of the integer codes of some patches."""
        real, cond, levels = self._some(rows)
        codes = levels.codes(real, cond.clean)
        found = discrete_log_prob(self.model, codes, cond, levels, generator=self._generator("codes"))
        per_plane = None if found.per_plane is None else -found.per_plane.cpu().numpy()
        whole = self._whole(cond)
        if per_plane is not None and cond.observed is not None:
            seen = cond.observed.sum((2, 3)).clamp(min=1).cpu().numpy()
            per_plane = per_plane * codes[0, 0].numel() / seen
        nll = CodesNll(-found.values.cpu().numpy() * whole, per_plane)
        self._check("log-probability of the codes", nll.total, "the model gives these codes probability 0", rows)
        return nll

    def latent(self, rows: NDArray[np.int64], blurred: Tensor) -> Tensor | None:
        """Return the model's latent of the real noise of some patches; None if the model has no latent."""
        if not isinstance(self.model, HasLatent):
            return None
        real, cond, levels = self._some(rows)
        within = blurred.to(real.device, real.dtype)[rows]
        if self.model.spec.before_rounding:
            # Draw the analogue noise within each code by the model's own σ: a randomised quantile residual.
            generator = self._generator("latent")
            cells = levels.cells(levels.codes(real, cond.clean), cond.clean)
            within = Dequantiser()(cells, cond, approximate_sigma(self.model, cond, generator), generator)[0].to(
                real.dtype
            )
        z = latent(self.model, within, cond)
        if z is None:
            return None
        if cond.observed is not None:
            # Give masked pixels the latent that a right model would have.
            normal = torch.randn(z.shape, generator=self._generator("masked latent"), device=z.device, dtype=z.dtype)
            z = torch.where(cond.observed, z, normal)
        return z.cpu().float()

    def _some(self, rows: NDArray[np.int64]) -> tuple[Tensor, Resolved, Levels]:
        observed = None if self.cond.observed is None else self.cond.observed[rows]
        cond = Resolved(self.cond.clean[rows], self.cond.iso[rows], self.cond.camera[rows], observed)
        return self.real[rows], cond, self._levels(rows)

    def _levels(self, rows: NDArray[np.int64] | slice = slice(None)) -> Levels:
        """Levels of some patches, whose noise is measured from the stored clean signal."""
        levels = Levels.of(self.read.table[rows], self.real.device)
        return replace(levels, origin=self.read.clean[rows].to(self.real.device))

    @staticmethod
    def _whole(cond: Resolved) -> NDArray[np.float64]:
        """Return the number of values of a patch divided by the number of observed ones, shape (B,)."""
        counts: NDArray[np.float64] = cond.counts().clamp(min=1).cpu().numpy()
        return np.asarray(cond.clean[0].numel() / counts, np.float64)

    def _generator(self, purpose: str) -> torch.Generator:
        seed = seed_for(self.scorer.setup.seed, purpose, self.name, self.start)
        return torch.Generator(self.real.device).manual_seed(seed)

    def _check(self, what: str, values: NDArray[Any], hint: str, rows: NDArray[np.int64] | None = None) -> None:
        finite = np.isfinite(values)
        if finite.all():
            return
        number = self.start + (np.arange(len(values)) if rows is None else rows)
        bad = self.scorer.setup.survey.rows[number[~finite]][:5].tolist()
        raise ModelError(
            f"{self.name}: its {what} is NaN or infinite on patches {bad} of {self.scorer.store.path}; {hint}"
        )


def _blurred(noise: Tensor, code: NDArray[np.float64], seed: int, name: str, start: int) -> Tensor:
    """Return noise plus a uniform dither of ±½ code."""
    generator = torch.Generator().manual_seed(seed_for(seed, "blur", name, start))
    half_codes = torch.rand(noise.shape, generator=generator).sub_(0.5)
    return half_codes.mul_(torch.from_numpy(code)[:, :, None, None].float()).add_(noise)
