"""LED's calibrated cameras: the ``noise_g`` options of its code, in YAML or JSON.

References
----------
Jin, Xiao, Han, Guo, Zhang, Liu, Li: Lighting Every Darkness in Two Pairs, ICCV 2023.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noiseflow.core.errors import ModelError
from noiseflow.core.reading.schema import ListOf, MapOf, Number, Plain, Table, checked
from noiseflow.core.reading.text import json_value, read_text
from noiseflow.models.foreign.log_law import Line, LogLawCamera, chosen
from noiseflow.models.foreign.source import ForeignFormat, ForeignSource
from noiseflow.models.model import NoiseModel

__all__ = ["LED"]

WHAT = "camera parameters of LED"
MOST_BYTES = 4 << 20
SUFFIXES = (".yaml", ".yml", ".json")

LINE = {"slope": Number(-1e3, 1e3), "bias": Number(-1e3, 1e3)}
SPREAD = {"sigma": Number(0, 1e3)}
CAMERA = Table(
    {
        "Kmin": Number(0, 1e9),
        "Kmax": Number(0, 1e9),
        "Row": Table(LINE, SPREAD),
        "TukeyLambda": Table({**LINE, "lambda": ListOf(Number(-10, 10), 1, 10_000)}, SPREAD),
    },
    {"Gaussian": Table(LINE, SPREAD), "ColorBias": Plain()},
)


def _claims(path: Path) -> bool:
    if path.suffix not in SUFFIXES or not path.is_file() or path.stat().st_size > MOST_BYTES:
        return False
    content = path.read_bytes()
    return b"TukeyLambda" in content and b"Kmin" in content


def _read(source: ForeignSource) -> NoiseModel:
    text = read_text(source.path, WHAT, ModelError, most=MOST_BYTES)
    if source.path.suffix == ".json":
        content = json_value(text, str(source.path), WHAT, ModelError)
    else:
        content = _yaml(text, source.path)
    for level in ("noise_g", "camera_params"):
        content = content.get(level, content) if isinstance(content, dict) else content
    known: Mapping[str, Any] = checked(content, MapOf(CAMERA), str(source.path), ModelError, f"expected {WHAT}")
    cameras = [
        LogLawCamera(
            name,
            (table["Kmin"], table["Kmax"]),
            Line(table["TukeyLambda"]["slope"], table["TukeyLambda"]["bias"]),
            Line(table["Row"]["slope"], table["Row"]["bias"]),
            table["TukeyLambda"]["lambda"],
        )
        for name, table in known.items()
    ]
    return chosen(cameras, source).model(source)


def _yaml(text: str, path: Path) -> Any:
    """Parse YAML; `safe_load` creates only numbers, strings, lists and mappings."""
    try:
        import yaml
    except ImportError as error:
        raise ModelError(f"{path}: a YAML file; install PyYAML to read it, or write it as JSON") from error
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ModelError(f"{path}: is not valid YAML ({str(error).splitlines()[0]}); expected {WHAT}") from error


LED = ForeignFormat("LED's calibrated cameras: YAML or JSON of its noise_g options", _claims, _read)
