"""What the data or the models leave open, in words."""

from noiseflow.evaluate.metric import Setup
from noiseflow.evaluate.presentation.formatting import count, percent

__all__ = ["notes"]

MOST_CLIPPED = 0.001
FEW_GROUPS = 5


def notes(setup: Setup) -> tuple[str, ...]:
    """What the data or the models do not let anybody say, in words."""
    found = setup.survey
    said = [f"{name} has no likelihood: “{reason}”." for name, reason in setup.without_density.items()]
    if len({cell.iso for cell in found.cells}) == 1:
        said.append(f"All of the data is at ISO {found.cells[0].iso:g}: nothing is said of other ISOs.")
    if found.clipped > MOST_CLIPPED:
        said.append(
            f"{percent(found.clipped, 1)} of the pixels stand at code 0 or at the white level, where the noise is cut: "
            "scores there are of the cut noise."
        )
    if found.still:
        said.append(f"{count(found.still, 'patch', 'patches')} without any noise, clipped throughout, are in the data.")
    if found.groups < FEW_GROUPS:
        said.append(
            f"The data holds {count(found.groups, found.group_is)} only: intervals are wide or missing, and what is "
            "not flagged may still be wrong."
        )
    return tuple(said)
