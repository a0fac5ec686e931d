"""Sufficient statistics of a data set for models with a Gaussian heart."""

from dataclasses import dataclass, replace

from torch import Tensor

__all__ = ["NoiseStatistics", "signal_bins"]


@dataclass(frozen=True, eq=False)
class NoiseStatistics:
    """Sums of noise and signal in cells of camera, ISO and clean level.

    One row a cell; all float64, shape (N,), but the two indices.

    Parameters
    ----------
    camera, iso_index : Tensor of long
        Index of the camera, and of the ISO in `isos`.
    count : Tensor
        Number of values.
    clean : Tensor
        Mean clean signal, normalised.
    mean : Tensor
        Mean noise.
    square : Tensor
        Mean squared noise.
    cameras : tuple of str
    isos : tuple of float
        Rising.
    """

    camera: Tensor
    iso_index: Tensor
    count: Tensor
    clean: Tensor
    mean: Tensor
    square: Tensor
    cameras: tuple[str, ...]
    isos: tuple[float, ...]

    def of(self, camera: int, iso_index: int) -> "NoiseStatistics":
        """Only the cells of one camera at one ISO; may be empty."""
        rows = (self.camera == camera) & (self.iso_index == iso_index)
        return replace(
            self,
            camera=self.camera[rows],
            iso_index=self.iso_index[rows],
            count=self.count[rows],
            clean=self.clean[rows],
            mean=self.mean[rows],
            square=self.square[rows],
        )


def signal_bins(clean: Tensor, bins: int) -> Tensor:
    """Index of each clean value among `bins` cells, even in the root of the signal.

    The root spaces the cells as the shot noise grows, so that a cell in the dark is
    narrow against the read noise.  Cell 0 takes all that is not above black.
    """
    return (clean.clamp(0, 1).sqrt() * (bins - 1)).ceil().long()
