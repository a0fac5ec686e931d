"""`Evaluation`: the result of scoring models on a patch store."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseflow.core.text import LONGEST_LINE, counted, json_text, plain_text
from noiseflow.core.units import NLL_UNIT
from noiseflow.evaluate.examples import Example
from noiseflow.evaluate.metric import DATA, Score, as_json
from noiseflow.evaluate.presentation import present
from noiseflow.evaluate.presentation.figures import pens_for
from noiseflow.evaluate.presentation.formatting import renamed, shown_names
from noiseflow.evaluate.presentation.html import render
from noiseflow.evaluate.presentation.presenter import Finding, Record, TableRow

__all__ = ["Data", "Evaluation"]

FORMAT = 2
"""Version of the layout of ``metrics.json``."""


@dataclass(frozen=True)
class Data:
    """Facts about the patches that were scored.

    Parameters
    ----------
    store : str
        Path of the store.
    fingerprint : str
        Fingerprint of the store's content.
    layout, pairing, split : str
        Plane layout, pairing of the store, and split that was scored.
    patches, patches_in_split : int
        Number of patches scored, and in the split.
    patch_shape : tuple of int
        (C, h, w).
    frames : int
        Number of distinct frames.
    groups : int
        Number of groups (scenes or frames) that intervals are over.
    group_is : str
        ``"scene"`` or ``"frame"``, each at one camera and ISO.
    close_values : int
        Number of values per source that expensive metrics used.
    clipped : float
        Fraction of pixels at code 0 or at the white level.
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
        Names of the models; the first is under test, the others are baselines.
    specs : mapping of str to mapping
        Spec of each model, as JSON values.
    data : Data
        Facts about the patches that were scored.
    seed : int
        Seed of the samples.
    scores : mapping of str to Score
        Scores by the metric's name in `METRICS`.
    examples : tuple of Example
        Example patches.
    notes : tuple of str
        Limits of the data and of the models, as sentences.
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
        """Return verdict and table of results as HTML, for a notebook."""
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
        patches = counted(self.data.patches, "patch", "patches")
        groups = counted(self.data.groups, self.data.group_is)
        return f"{', '.join(self.models)} on {Path(self.data.store).name}: {patches}, {groups}, {self.data.split}"

    def presentable(self) -> "Evaluation":
        """Return a copy with all names made safe to show; see `noiseflow.evaluate.presentation.formatting`."""
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
        """The verdict of each check, as a sentence with its level."""
        return present.findings(self.scores, self.tested)

    @property
    def headline(self) -> str:
        """The verdict in one or two sentences."""
        return present.headline(self.scores, self.tested)

    def table(self) -> tuple[TableRow, ...]:
        """Return the rows of the table of results."""
        return present.table(self.scores)

    def records(self) -> tuple[Record, ...]:
        """Return all numbers as flat records, the rows of ``metrics.csv``."""
        return present.records(self.scores)

    def to_json(self) -> str:
        """Return the whole result as JSON; NaN and infinity become null."""
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
