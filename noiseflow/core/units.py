"""Units that are written into files, so that numbers in another unit are refused."""

__all__ = ["NLL_UNIT", "SIGNAL_UNIT"]

SIGNAL_UNIT = "(DN - black) / (white - black)"
"""Normalised signal, per colour plane, not clipped."""

NLL_UNIT = "nats of the normalised signal"
"""Unit of likelihoods: natural log of a density over the normalised signal."""
