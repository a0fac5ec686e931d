"""Checksum of the samples, which shows whether two evaluations scored the same ones."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from noiseflow.evaluate.metric import Metric, Score, ScoredBatch, Setup

__all__ = ["SamplesDigest", "SamplesDigestMetric"]


@dataclass(frozen=True)
class SamplesDigest(Score):
    """Checksums of the models' samples.

    Parameters
    ----------
    sha256 : mapping of str to str
        SHA-256 of each model's samples: normalised noise as little-endian float32, in the order of the patches.
    """

    sha256: Mapping[str, str]


class SamplesDigestMetric(Metric):
    """Running SHA-256 of each model's samples."""

    def __init__(self, setup: Setup) -> None:
        self.digests = {name: hashlib.sha256() for name in setup.models}

    def update(self, batch: ScoredBatch) -> None:
        """Add a batch."""
        for name, digest in self.digests.items():
            digest.update(np.ascontiguousarray(batch.noise[name].numpy(), "<f4").tobytes())

    def score(self) -> SamplesDigest:
        """Return the checksum of each model's samples."""
        return SamplesDigest({name: digest.hexdigest() for name, digest in self.digests.items()})
