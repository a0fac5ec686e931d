"""The truth about simulated cameras, where several sources tell of it."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["agreed_truth"]


def agreed_truth(truths: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One truth per camera, over the ISOs of all; none for a camera that they contradict each other about.

    Parameters
    ----------
    truths : sequence of mapping
        Camera → physics: lists run over its ``isos``, other values hold for all of them.
    """
    agreed: dict[str, Any] = {}
    for camera in dict.fromkeys(camera for truth in truths for camera in truth):
        told = [truth[camera] for truth in truths if camera in truth]
        fixed = [{name: value for name, value in each.items() if not isinstance(value, list)} for each in told]
        by_iso = [_by_iso(each) for each in told]
        rows = {iso: row for each in by_iso for iso, row in each.items()}
        same = all(rows[iso] == row for each in by_iso for iso, row in each.items())
        if same and all(each == fixed[0] for each in fixed):
            isos = sorted(rows)
            agreed[camera] = {**fixed[0], **{name: [rows[iso][name] for iso in isos] for name in rows[isos[0]]}}
    return agreed


def _by_iso(truth: Mapping[str, Any]) -> dict[float, dict[str, Any]]:
    columns = {name: values for name, values in truth.items() if isinstance(values, list)}
    return {iso: {name: values[index] for name, values in columns.items()} for index, iso in enumerate(columns["isos"])}
