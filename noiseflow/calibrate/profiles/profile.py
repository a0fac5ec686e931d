"""`Profile`: what was measured of a camera, per ISO and plane, and where it came from."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from noiseflow.calibrate.measurement import Measurement
from noiseflow.calibrate.profiles.file_schema import profile_schema
from noiseflow.core.errors import DataError, NoiseflowError
from noiseflow.core.output.checks import writing
from noiseflow.core.output.marks import CHECKSUM, checksum_of
from noiseflow.core.output.whole import write_text
from noiseflow.core.reading.schema import checked
from noiseflow.core.reading.text import json_value, read_json, read_text
from noiseflow.core.text import json_text
from noiseflow.raw.bayer import plane_names

__all__ = [
    "QUANTITIES",
    "SCHEMA",
    "SETTING_KINDS",
    "Profile",
    "Quantity",
    "Setting",
    "is_protected",
    "read_profile",
    "write_profile",
]

SCHEMA = "noiseflow camera profile 1"
WHAT = "a profile of `noiseflow calibrate`"

SETTING_KINDS = ("measured", "bound", "published", "relative", "posterior")
"""How far a setting's numbers go: measured here; only a bound; taken over from a source;
in units of an unknown scale, good for ratios only; of the prior over cameras, given a few frames."""


@dataclass(frozen=True)
class Quantity:
    """One thing that a profile can say: its unit, and what it is in EMVA's terms."""

    unit: str
    meaning: str


QUANTITIES: dict[str, Quantity] = {
    "gain_dn_per_e": Quantity("DN/e-", "overall system gain K, photon-transfer method (least squares, 0–70 %)"),
    "gain_likelihood_dn_per_e": Quantity("DN/e-", "overall system gain K, maximum likelihood, mean of the range"),
    "gain_at_zero_dn_per_e": Quantity("DN/e-", "K at no signal, of a photon-transfer curve that may bend"),
    "black_dn": Quantity("DN", "black level (dark signal at zero exposure)"),
    "read_noise_dn": Quantity("DN", "temporal dark noise σ_y.dark, quantisation included"),
    "read_noise_e": Quantity("e-", "temporal dark noise σ_d, quantisation taken off"),
    "read_noise_likelihood_dn": Quantity("DN", "read noise, maximum likelihood with K"),
    "row_noise_dn": Quantity("DN", "temporal row noise"),
    "column_noise_dn": Quantity("DN", "temporal column noise"),
    "tukey_shape": Quantity("", "Tukey-lambda shape λ of the read noise without rows, PPCC"),
    "tukey_scale_dn": Quantity("DN", "Tukey-lambda scale of the read noise without rows"),
    "saturation_dn": Quantity("DN", "saturation signal above dark"),
    "saturation_e": Quantity("e-", "saturation capacity"),
    "sensitivity_threshold_e": Quantity("e-", "absolute sensitivity threshold: the light at which SNR = 1"),
    "dynamic_range_db": Quantity("dB", "dynamic range: saturation over the sensitivity threshold"),
    "snr_max_db": Quantity("dB", "largest SNR, that of the saturation capacity"),
    "prnu_dn": Quantity("DN", "photo response nonuniformity at the level of the bright stack"),
    "prnu_percent": Quantity("%", "PRNU1288, of the signal"),
    "prnu_row_dn": Quantity("DN", "PRNU, row part"),
    "prnu_column_dn": Quantity("DN", "PRNU, column part"),
    "prnu_pixel_dn": Quantity("DN", "PRNU, pixel part"),
    "dsnu_dn": Quantity("DN", "dark signal nonuniformity"),
    "dsnu_row_dn": Quantity("DN", "DSNU, row part"),
    "dsnu_column_dn": Quantity("DN", "DSNU, column part"),
    "dsnu_pixel_dn": Quantity("DN", "DSNU, pixel part"),
    "dark_current_dn_per_s": Quantity("DN/s", "dark current, from the mean"),
    "dark_current_e_per_s": Quantity("e-/s", "dark current, from the mean"),
    "black_drift_dn_per_frame": Quantity("DN/frame", "drift of the black level"),
}
"""Names of the numbers in a profile."""


@dataclass(frozen=True)
class Setting:
    """One ISO and one plane.

    Parameters
    ----------
    iso : float
        ISO of the setting.
    plane : str
        As in `noiseflow.raw.plane_names`.
    estimates : mapping of str to Measurement
        Names from `QUANTITIES`; what was not measured is not there.
    covariance : tuple of tuple of float
        Covariance of gain_likelihood_dn_per_e (DN/e⁻) and read_noise_likelihood_dn² (DN²); empty if
        there is no such fit.
    facts : mapping
        Plain numbers without an error bar: linearity error, hot pixels, lines of banding.
    kind : str
        One of `SETTING_KINDS`.
    cautions : tuple of str
        What a reader must know before trusting it.
    absent : mapping of str to str
        Figures that the data cannot support, by their name among the estimates or facts, and why.
    """

    iso: float
    plane: str
    estimates: Mapping[str, Measurement]
    covariance: tuple[tuple[float, ...], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "measured"
    cautions: tuple[str, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse names and units that are not known."""
        where = f"profile at ISO {self.iso:g}, plane {self.plane}"
        if not (self.iso > 0 and math.isfinite(self.iso)):
            raise DataError(f"{where}: expected a positive ISO")
        if self.kind not in SETTING_KINDS:
            raise DataError(f"{where}: kind {self.kind!r} is not one of {', '.join(SETTING_KINDS)}")
        for name, estimate in self.estimates.items():
            if name not in QUANTITIES:
                raise DataError(f"{where}: {name!r} is not known; expected one of {', '.join(QUANTITIES)}")
            if estimate.unit != QUANTITIES[name].unit:
                raise DataError(f"{where}: {name} in {estimate.unit!r}; expected {QUANTITIES[name].unit!r}")
        gain = self.estimates.get("gain_dn_per_e")
        if gain is not None and gain.value <= 0:
            raise DataError(f"{where}: gain {gain.value:g} DN/e- is not positive; are the flats and darks swapped?")

    def value(self, name: str) -> float | None:
        """Value of an estimate, or None."""
        return self.estimates[name].value if name in self.estimates else None


@dataclass(frozen=True)
class Profile:
    """A camera's physics.

    Parameters
    ----------
    camera : str
        Name of the camera.
    layout : str
        Plane layout: ``"bayer"``, ``"mono"`` or ``"mono2x2"``.
    white_dn : float
        Code of saturation.
    settings : tuple of Setting
        Sorted by ISO, then in the order of planes.
    provenance : mapping
        Sources, tool version, method.
    cautions : tuple of str
        On all of it.
    """

    camera: str
    layout: str
    white_dn: float
    settings: tuple[Setting, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Sort the settings; refuse planes that the layout has not and settings said twice."""
        names = plane_names(self.layout)
        seen: set[tuple[float, str]] = set()
        for setting in self.settings:
            key = (setting.iso, setting.plane)
            if setting.plane not in names:
                raise DataError(f"{self.camera}: plane {setting.plane!r} is not in layout {self.layout} ({names})")
            if key in seen:
                raise DataError(f"{self.camera}: ISO {setting.iso:g}, plane {setting.plane} is there twice")
            seen.add(key)
        if not self.settings:
            raise DataError(f"{self.camera}: a profile without any setting")
        ordered = sorted(self.settings, key=lambda setting: (setting.iso, names.index(setting.plane)))
        object.__setattr__(self, "settings", tuple(ordered))

    @property
    def isos(self) -> tuple[float, ...]:
        """ISOs, rising."""
        return tuple(sorted({setting.iso for setting in self.settings}))

    def at(self, iso: float, plane: str) -> Setting:
        """The setting of an ISO and a plane that were measured."""
        for setting in self.settings:
            if setting.iso == iso and setting.plane == plane:
                return setting
        raise DataError(
            f"{self.camera}: no plane {plane} at ISO {iso:g}; it has ISOs {', '.join(map('{:g}'.format, self.isos))}"
        )

    def to_json(self) -> str:
        """The profile as indented JSON."""
        fields = _plain({"schema": SCHEMA, **asdict(self)})
        fields[CHECKSUM] = checksum_of(fields)
        return json_text(fields)

    @classmethod
    def from_json(cls, text: str, source: str = "camera.json") -> "Profile":
        """Read what `to_json` wrote.

        Raises
        ------
        DataError
            No JSON, another schema, fields that are missing, unknown or of wrong units.
        """
        fields = json_value(text, source, WHAT, DataError)
        found = fields.get("schema") if isinstance(fields, dict) else None
        if found != SCHEMA:
            raise DataError(f"{source}: schema {found!r}; expected {SCHEMA!r}, as `noiseflow calibrate` writes it")
        checked(fields, profile_schema(SCHEMA, SETTING_KINDS), source, DataError, f"expected {WHAT}")
        stated = fields.pop(CHECKSUM, None)
        if stated is not None and stated != checksum_of(fields):
            raise DataError(
                f"{source}: was changed since it was written (its SHA-256 is another); calibrate again, or, if you "
                f"changed it yourself, take the line {CHECKSUM!r} out"
            )
        del fields["schema"]
        try:
            settings = tuple(_setting(entry) for entry in fields.pop("settings"))
            cautions = tuple(fields.pop("cautions", ()))
            return cls(**fields, settings=settings, cautions=cautions)
        except (KeyError, TypeError, ValueError, AttributeError, NoiseflowError) as error:
            raise DataError(f"{source}: is no whole profile ({error})") from error


def is_protected(path: str | Path) -> bool:
    """Whether a profile's file holds a checksum; those of earlier versions have none."""
    return CHECKSUM in read_json(Path(path), WHAT, DataError)


def _setting(entry: dict[str, Any]) -> Setting:
    estimates = {
        name: Measurement(
            float(value["value"]), _error(value["standard_error"]), _interval(value["interval"]), str(value["unit"])
        )
        for name, value in entry.pop("estimates").items()
    }
    covariance = tuple(tuple(float(x) for x in row) for row in entry.pop("covariance", ()))
    return Setting(**entry | {"cautions": tuple(entry.get("cautions", ()))}, estimates=estimates, covariance=covariance)


def _error(value: float | None) -> float:
    return math.inf if value is None else float(value)


def _interval(pair: Any) -> tuple[float, float]:
    low, high = pair
    return (-math.inf if low is None else float(low), math.inf if high is None else float(high))


def _plain(value: Any) -> Any:
    """JSON values; an open end of an interval is null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return None
    return value


def read_profile(path: str | Path) -> Profile:
    """Read a profile from its JSON file."""
    path = Path(path)
    return Profile.from_json(read_text(path, WHAT, DataError), str(path))


def write_profile(profile: Profile, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a profile; the file takes its name when it is whole, and replaces none but a profile."""
    with writing(path, overwrite=overwrite) as path:
        write_text(path, profile.to_json(), replace=overwrite)
