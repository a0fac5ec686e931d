"""Learn the prior over cameras that ships with the package."""

from datetime import UTC, datetime
from pathlib import Path

import click

from noiseflow.calibrate.prior.curve import DUAL_ISOS, OBSERVED, PARAMETERS
from noiseflow.calibrate.prior.learning import learn_prior
from noiseflow.calibrate.prior.weights import write_prior
from tools.studies.cameras.facts import known_curves

ROOT = Path(__file__).resolve().parents[3]
OUT = ROOT / "noiseflow" / "calibrate" / "prior" / "cameras.safetensors"


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), default=ROOT.parent / "shared" / "data")
@click.option("--out", type=click.Path(path_type=Path), default=OUT)
def main(data: Path, out: Path) -> None:
    """Learn the prior from the published numbers in shared/data.

    \b
    python -m tools.studies.cameras.learn
    """  # noqa: D301
    curves = known_curves(data)
    prior = learn_prior(curves)
    card: dict[str, object] = {
        "what": "prior over the noise of cameras: normal over the parameters, a mixture over the ISO of a gain switch",
        "made by": "python -m tools.studies.cameras.learn",
        "made on": datetime.now(UTC).date().isoformat(),
        "licence": "Apache-2.0; learnt from published numbers, which are facts",
        "parameters": list(PARAMETERS),
        "observed": list(OBSERVED),
        "dual_isos": list(DUAL_ISOS),
        "cameras": {curve.name: {"isos": len(curve.isos), "source": curve.source} for curve in curves},
        "limits": "sixteen cameras of 2009 to 2020, six of them phones; row noise and tails are known of six",
    }
    write_prior(prior, out, card)
    click.echo(f"{out}: {len(curves)} cameras")


if __name__ == "__main__":
    main()
