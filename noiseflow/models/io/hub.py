"""Noise models on the Hugging Face Hub: loading at a revision, and publishing with a card made from the report.

A published model consists of the run folder's ``spec.json`` and ``model.safetensors``; nothing that is fetched is
executed.  Needs the extra ``hub``.
"""

import io
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noiseflow.core.errors import DataError, ModelError
from noiseflow.core.extras import install
from noiseflow.core.output.verified import check_file
from noiseflow.core.reading.schema import ListOf, MapOf, Maybe, Number, Schema, Table, Text, checked
from noiseflow.core.reading.text import read_json
from noiseflow.core.text import markdown_text, plain_text
from noiseflow.core.version import __version__
from noiseflow.models.io.run_folder import SPEC, WEIGHTS, load as load_run
from noiseflow.models.model import NoiseModel
from noiseflow.models.shown import facts_of, noise_curves

__all__ = ["HUB", "card_of", "load_from_hub", "push"]

HUB = re.compile(r"hf:/{1,2}(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?$")
"""``hf://user/name`` or ``hf://user/name@revision``; `Path` turns the two slashes into one."""

LICENCE = re.compile(r"[a-z0-9.-]+$")

CARD, CURVE = "README.md", "noise.png"

NLL = Maybe(Number())
FIT = Table(
    {},
    {
        "data": Text(longest=1000),
        "tool": Text(longest=1000),
        "held_out_nll_nats_per_dim": NLL,
        "held_out_nll_of_baselines_nats_per_dim": MapOf(NLL),
    },
    others=True,
)
"""The fields of ``fit.json`` that a card shows; all are optional, because imported models have none."""

COUNT = Number(0, whole=True)
REPORT = Table(
    {
        "headline": Text(),
        "findings": ListOf(Table({"text": Text()}, others=True)),
        "data": Table({"patches": COUNT, "groups": COUNT, "split": Text()}, others=True),
    },
    others=True,
)
"""The fields of ``metrics.json`` that a card shows; `noiseflow.evaluate`, which imports models, has the full schema."""

log = logging.getLogger(__name__)


def load_from_hub(source: str | Path) -> NoiseModel:
    """Load a published model, in evaluation mode.

    Parameters
    ----------
    source : str
        ``hf://user/name@revision``.  The revision is a commit, tag or branch, by default ``main``.  Files fetched
        before come from the cache of `huggingface_hub`; with ``HF_HUB_OFFLINE=1`` the Hub is not contacted at all.

    Returns
    -------
    NoiseModel
        The model.

    Raises
    ------
    ModelError
        No such repository, revision or file; files that are not a model; or the extra is not installed.
    """
    found = HUB.match(str(source))
    if found is None:
        raise ModelError(f"{source}: expected hf://user/name or hf://user/name@revision")
    hub = _hub()
    about = {"library_name": "noiseflow", "library_version": __version__}
    try:
        # Fetch the weights from the same commit as the spec, even if something is pushed in between.
        spec = Path(hub.hf_hub_download(found["repo"], SPEC, revision=found["revision"], **about))
        folder, commit = spec.parent, spec.parent.name
        hub.hf_hub_download(found["repo"], WEIGHTS, revision=commit, **about)
    except (hub.errors.HfHubHTTPError, hub.errors.LocalEntryNotFoundError, OSError, ValueError) as error:
        # A path has one slash where the address has two.
        address = re.sub("^hf:/{1,2}", "hf://", str(source))
        raise ModelError(f"{address}: cannot be fetched: {plain_text(str(error), 300)}") from error
    if found["revision"] != commit:
        log.warning("hf://%s is at commit %s; add it as @revision to get the same model again", found["repo"], commit)
    return load_run(folder)


def push(
    run: str | Path,
    repo: str,
    *,
    report: str | Path | None = None,
    licence: str = "apache-2.0",
    private: bool = False,
) -> str:
    """Publish the model of a run folder with a card.

    Parameters
    ----------
    run : path
        Run folder of a finished fit.
    repo : str
        ``user/name``; the repository is created if it does not exist.
    report : path, optional
        Report folder of `noiseflow evaluate`, whose verdict and findings the card shows.
    licence : str
        Identifier of the weights' licence on the Hub.
    private : bool
        Whether a new repository is private.

    Returns
    -------
    str
        ``hf://user/name@commit``, which `noiseflow.load` accepts.

    Raises
    ------
    ModelError
        The run is not finished, the name or licence is invalid, or the Hub refuses.
    """
    if HUB.match(f"hf://{repo}") is None:
        raise ModelError(f"{repo}: expected user/name")
    if LICENCE.match(licence) is None:
        raise ModelError(f"licence {licence!r}: expected an identifier of the Hub, such as apache-2.0 or cc-by-4.0")
    model, run = load_run(run), Path(run)
    contents = {
        CARD: card_of(model, repo, run, report, licence).encode(),
        CURVE: _picture(model),
        SPEC: (run / SPEC).read_bytes(),
        WEIGHTS: (run / WEIGHTS).read_bytes(),
    }
    hub = _hub()
    api = hub.HfApi(library_name="noiseflow", library_version=__version__)
    operations = [hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=text) for name, text in contents.items()]
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        done = api.create_commit(repo, operations, commit_message=f"{model.spec.model} by noiseflow {__version__}")
    except (hub.errors.HfHubHTTPError, OSError, ValueError) as error:
        raise ModelError(f"{repo}: cannot be published: {plain_text(str(error), 300)}") from error
    return f"hf://{repo}@{done.oid}"


def card_of(model: NoiseModel, repo: str, run: Path, report: str | Path | None, licence: str) -> str:
    """Text of the model card: what the model is, how to load it, what it was fitted to, and the report's verdict.

    Parameters
    ----------
    model : NoiseModel
        Model to describe.
    repo : str
        ``user/name``.
    run : path
        Its run folder; ``fit.json`` there has the data fingerprint and the held-out NLL.
    report : path, optional
        Report folder of `noiseflow evaluate`.
    licence : str
        Identifier of the licence.
    """
    head = (
        f"---\nlicense: {licence}\nlibrary_name: noiseflow\ntags:\n- camera-noise\n- raw\n- {model.spec.model}\n---\n"
    )
    parts = [
        f"{head}\n# {repo.partition('/')[2]}\n",
        "A noise model of a camera's raw data, made with noiseflow: a density of noise given the clean signal, "
        "the ISO and the camera, and its samples.\n",
        f'```python\nimport noiseflow\n\nmodel = noiseflow.load("hf://{repo}")\n```\n',
        _table({"model": model.spec.model, **facts_of(model), "density": model.spec.unit}),
        f"![Noise over the signal]({CURVE})\n",
        _of_fit(run),
    ]
    if report is not None:
        parts.append(_of_report(Path(report)))
    return "\n".join(part for part in parts if part)


def _table(rows: Mapping[str, str]) -> str:
    cells = [f"| {markdown_text(label, 300)} | {markdown_text(text, 300)} |" for label, text in rows.items()]
    return "\n".join(["| | |", "|---|---|", *cells, ""])


def _of_fit(run: Path) -> str:
    path = run / "fit.json"
    if not path.is_file():
        return ""
    fit = _read(path, FIT, "the record of a fit")
    rows = {"data fingerprint": fit.get("data", "")[:16], "made by": fit.get("tool", "")}
    nll = {"this model": fit.get("held_out_nll_nats_per_dim"), **fit.get("held_out_nll_of_baselines_nats_per_dim", {})}
    rows |= {f"held-out NLL, {name}": f"{value:.4f} nats/dim" for name, value in nll.items() if value is not None}
    return "## Fit\n\n" + _table(rows)


def _of_report(report: Path) -> str:
    found = _read(report / "metrics.json", REPORT, "a report of `noiseflow evaluate`")
    lines = [markdown_text(found["headline"], 500), ""]
    lines += [f"- {markdown_text(finding['text'], 500)}" for finding in found["findings"]]
    data = found["data"]
    lines += ["", f"On {data['patches']:,} patches of split {markdown_text(data['split'])}, {data['groups']:,} scenes."]
    return "## Scores\n\n" + "\n".join(lines) + "\n"


def _read(path: Path, schema: Schema, what: str) -> dict[str, Any]:
    check_file(path, DataError)
    table: dict[str, Any] = checked(read_json(path, what, DataError), schema, str(path), DataError, f"expected {what}")
    return table


def _picture(model: NoiseModel) -> bytes:
    from matplotlib.figure import Figure

    lines, x_label, y_label = noise_curves(model)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for label, (signal, sigma) in lines.items():
        axes.plot(signal, sigma, label=label)
    axes.set(xscale="log", yscale="log", xlabel=x_label, ylabel=y_label)
    axes.legend(frameon=False)
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=120)
    return written.getvalue()


def _hub() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise ModelError(f"models on a hub need a library that is not installed: {install('hub')} ({error})") from error
    return huggingface_hub
