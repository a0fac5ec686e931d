"""What the data or the models leave open, in words."""

from noiseflow.evaluate.data_summary import FEWEST_SCENES
from noiseflow.evaluate.metric import Setup
from noiseflow.evaluate.presentation.formatting import count, percent

__all__ = ["notes"]

MOST_CLIPPED = 0.001
FEW_GROUPS = 5


def notes(setup: Setup) -> tuple[str, ...]:
    """Limits of the data and of the models, in words."""
    found = setup.survey
    said = [f"{name} has no likelihood: “{reason}”." for name, reason in setup.without_density.items()]
    if len({cell.iso for cell in found.cells}) == 1:
        said.append(f"All of the data is at ISO {found.cells[0].iso:g}: the report does not cover other ISOs.")
    if found.clipped > MOST_CLIPPED:
        said.append(
            f"{percent(found.clipped, 1)} of the pixels are clipped at code 0 or at the white level: scores there are "
            "of the clipped noise."
        )
    if found.still:
        said.append(f"The data holds {count(found.still, 'patch', 'patches')} without any noise: clipped throughout.")
    if found.groups < FEW_GROUPS:
        said.append(
            f"The data holds only {count(found.groups, found.group_is)}: intervals are wide or missing, and what is "
            f"not flagged may still be wrong. Score {FEWEST_SCENES} scenes or more."
        )
    return tuple(said)
