"""Table row of the samples' checksum."""

from collections.abc import Sequence

from noiseflow.evaluate.metrics.samples_digest import SamplesDigest
from noiseflow.evaluate.presentation.presenter import Presenter, TableRow

__all__ = ["PRESENTER"]


class SamplesDigestPresenter(Presenter[SamplesDigest]):
    """Presents `SamplesDigest`."""

    title = "Checksum of the samples"
    method = "SHA-256 of the sampled normalised noise, float32, in the order of the patches."

    def table(self, score: SamplesDigest) -> Sequence[TableRow]:
        """Return the first twelve digits of each checksum."""
        cells = {name: digest[:12] for name, digest in score.sha256.items()}
        return [TableRow("Samples", "SHA-256", "", cells)]


PRESENTER = SamplesDigestPresenter()
