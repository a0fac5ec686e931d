"""What a scoring of models on a patch store found."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseflow.core.text import LONGEST_LINE, json_text, plain_text
from noiseflow.core.units import NLL_UNIT
from noiseflow.evaluate.examples import Example
from noiseflow.evaluate.metric import DATA, Score, as_json
from noiseflow.evaluate.presentation import present
from noiseflow.evaluate.presentation.figures import pens_for
from noiseflow.evaluate.presentation.formatting import count, renamed, shown_names
from noiseflow.evaluate.presentation.html import render
from noiseflow.evaluate.presentation.presenter import Finding, Record, TableRow

__all__ = ["Data", "Evaluation"]

FORMAT = 2
"""Version of the layout of ``metrics.json``."""


@dataclass(frozen=True)
class Data:
    """What was scored.

    Parameters
    ----------
    store : str
        Path.
    fingerprint : str
        Fingerprint of the store's content.
    layout, pairing, split : str
        Layout of the planes, pairing of the store, split that was scored.
    patches, patches_in_split : int
        Scored, and in the split.
    patch_shape : tuple of int
        (C, h, w).
    frames : int
        Distinct frames.
    groups : int
        Number of scenes or frames.
    group_is : str
        What intervals rest on: ``"scene"`` or ``"frame"``, each at one camera and ISO.
    close_values : int
        Values of each source that the expensive measures looked at.
    clipped : float
        Fraction of the pixels at code 0 or at the white level.
    cameras : tuple of str
        Names of the cameras.
    isos : tuple of float
        ISOs, in rising order.
    """

    store: str
    fingerprint: str
    layout: str
    pairing: str
    split: str
    patches: int
    patches_in_split: int
    patch_shape: tuple[int, int, int]
    frames: int
    groups: int
    group_is: str
    close_values: int
    clipped: float
    cameras: tuple[str, ...]
    isos: tuple[float, ...]


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Scores of models on a patch store.

    Parameters
    ----------
    models : tuple of str
        The first is under test, the others are baselines.
    specs : mapping of str to mapping
        Specs of each model, as JSON values.
    data : Data
        Facts about what was scored.
    seed : int
        Seed of the samples.
    scores : mapping of str to Score
        By the metric's name in `METRICS`.
    examples : tuple of Example
        Patches to look at.
    notes : tuple of str
        Limits of the data and of the models, in sentences.
    """

    models: tuple[str, ...]
    specs: Mapping[str, Mapping[str, Any]]
    data: Data
    seed: int
    scores: Mapping[str, Score]
    examples: tuple[Example, ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return plain_text(f"<Evaluation of {self._title}. {self.headline}>", LONGEST_LINE)

    def _repr_html_(self) -> str:
        """Verdict and table of results, for a notebook."""
        shown = self.presentable()
        pens = pens_for(DATA, shown.models)
        return render(
            "notebook.html.j2",
            title=shown._title,
            headline=shown.headline,
            columns=(DATA, *shown.models),
            colours={name: pen.colour for name, pen in pens.items()},
            table=shown.table(),
        )

    @property
    def _title(self) -> str:
        patches = count(self.data.patches, "patch", "patches")
        groups = count(self.data.groups, self.data.group_is)
        return f"{', '.join(self.models)} on {Path(self.data.store).name}: {patches}, {groups}, {self.data.split}"

    def presentable(self) -> "Evaluation":
        """The same with names that can be shown: see `noiseflow.evaluate.presentation.formatting`."""
        scenes = [example.scene for example in self.examples]
        names = shown_names([*self.models, *self.data.cameras, *scenes, Path(self.data.store).name, self.data.split])
        shown: Evaluation = renamed(self, names)
        return shown

    @property
    def tested(self) -> str:
        """Name of the model under test."""
        return self.models[0]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The verdict, sentence by sentence."""
        return present.findings(self.scores, self.tested)

    @property
    def headline(self) -> str:
        """The verdict in one or two sentences."""
        return present.headline(self.scores, self.tested)

    def table(self) -> tuple[TableRow, ...]:
        """The table of results."""
        return present.table(self.scores)

    def records(self) -> tuple[Record, ...]:
        """All numbers, flat: what ``metrics.csv`` holds."""
        return present.records(self.scores)

    def to_json(self) -> str:
        """All of it as JSON; what is not a number is null."""
        content = {
            "format": FORMAT,
            "unit": NLL_UNIT,
            "headline": self.headline,
            "findings": self.findings,
            "notes": self.notes,
            "models": self.models,
            "specs": self.specs,
            "data": self.data,
            "seed": self.seed,
            "methods": present.methods(self.scores),
            "scores": self.scores,
            "examples": self.examples,
        }
        return json_text(as_json(content))
