"""`Profile`: the noise parameters of a camera, per ISO and plane, with their provenance."""

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
"""Origin of a setting's numbers: measured here; only a bound; published by a source; in units of an unknown
scale, valid for ratios only; posterior of the prior over cameras given a few frames."""


@dataclass(frozen=True)
class Quantity:
    """A quantity in a profile.

    Parameters
    ----------
    unit : str
        Unit; empty for a pure number.
    meaning : str
        Meaning, in the terms of EMVA 1288.
    """

    unit: str
    meaning: str


QUANTITIES: dict[str, Quantity] = {
    "gain_dn_per_e": Quantity("DN/e-", "overall system gain K, photon-transfer method (least squares, 0–70 %)"),
    "gain_likelihood_dn_per_e": Quantity("DN/e-", "overall system gain K, maximum likelihood, mean of the range"),
    "gain_at_zero_dn_per_e": Quantity("DN/e-", "K at zero signal, of a photon-transfer curve that may bend"),
    "black_dn": Quantity("DN", "black level (dark signal at zero exposure)"),
    "read_noise_dn": Quantity("DN", "temporal dark noise σ_y.dark, quantisation included"),
    "read_noise_e": Quantity("e-", "temporal dark noise σ_d, quantisation subtracted"),
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
"""Unit and meaning of each estimate in a profile, by name."""


@dataclass(frozen=True)
class Setting:
    """Noise parameters of one ISO and one plane.

    Parameters
    ----------
    iso : float
        ISO of the setting.
    plane : str
        Name of the plane, as in `noiseflow.raw.plane_names`.
    estimates : mapping of str to Measurement
        Measured quantities by their names in `QUANTITIES`; those not measured are missing.
    covariance : tuple of tuple of float
        2×2 covariance of the gain (DN/e⁻) and the read variance (DN²) of the maximum-likelihood or burst fit; empty
        without such a fit.
    facts : mapping of str to Any
        Numbers without an error bar, by their names in `noiseflow.calibrate.profiles.facts.FACTS`.
    kind : str
        Origin of the numbers: one of `SETTING_KINDS`.
    cautions : tuple of str
        Limits of the numbers, as sentences for the user.
    absent : mapping of str to str
        Reason for each estimate or fact that could not be measured, by name.

    Raises
    ------
    DataError
        An unknown name, unit or kind, or an ISO or gain that is not positive.
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
        """Check names, units, kind, ISO and gain."""
        where = f"profile at ISO {self.iso:g}, plane {self.plane}"
        if not (self.iso > 0 and math.isfinite(self.iso)):
            raise DataError(f"{where}: expected a positive, finite ISO")
        if self.kind not in SETTING_KINDS:
            raise DataError(f"{where}: kind {self.kind!r} is not one of {', '.join(SETTING_KINDS)}")
        for name, estimate in self.estimates.items():
            if name not in QUANTITIES:
                raise DataError(f"{where}: unknown quantity {name!r}; expected one of {', '.join(QUANTITIES)}")
            if estimate.unit != QUANTITIES[name].unit:
                raise DataError(f"{where}: {name} is in {estimate.unit!r}; expected {QUANTITIES[name].unit!r}")
        gain = self.estimates.get("gain_dn_per_e")
        if gain is not None and gain.value <= 0:
            raise DataError(f"{where}: gain {gain.value:g} DN/e- is not positive; are the flats and darks swapped?")

    def value(self, name: str) -> float | None:
        """Return the value of an estimate in its unit, or None if it was not measured."""
        return self.estimates[name].value if name in self.estimates else None


@dataclass(frozen=True)
class Profile:
    """Noise parameters of a camera at several ISOs.

    Parameters
    ----------
    camera : str
        Name of the camera.
    layout : str
        Plane layout, such as ``"bayer"``, ``"mono"`` or ``"mono2x2"``.
    white_dn : float
        White level, DN.
    settings : tuple of Setting
        One per ISO and plane; they are sorted by ISO, then by plane.
    provenance : mapping of str to Any
        Sources, tool version and method.
    cautions : tuple of str
        Limits of the whole profile, as sentences for the user.

    Raises
    ------
    DataError
        No setting, two settings of one ISO and plane, or a plane that the layout does not have.
    """

    camera: str
    layout: str
    white_dn: float
    settings: tuple[Setting, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the planes, refuse duplicates, and sort the settings."""
        names = plane_names(self.layout)
        seen: set[tuple[float, str]] = set()
        for setting in self.settings:
            key = (setting.iso, setting.plane)
            if setting.plane not in names:
                raise DataError(
                    f"{self.camera}: layout {self.layout} has no plane {setting.plane!r}; expected one of "
                    f"{', '.join(names)}"
                )
            if key in seen:
                raise DataError(
                    f"{self.camera}: ISO {setting.iso:g}, plane {setting.plane} occurs twice; expected one setting each"
                )
            seen.add(key)
        if not self.settings:
            raise DataError(f"{self.camera}: the profile has no setting; expected at least one ISO and plane")
        ordered = sorted(self.settings, key=lambda setting: (setting.iso, names.index(setting.plane)))
        object.__setattr__(self, "settings", tuple(ordered))

    @property
    def isos(self) -> tuple[float, ...]:
        """ISOs of the settings, rising."""
        return tuple(sorted({setting.iso for setting in self.settings}))

    def name_of(self, setting: Setting, word: str = "plane ") -> str:
        """Return the name of a setting for the user; an ISO that the camera does not have is called nominal.

        Parameters
        ----------
        setting : Setting
            One of the settings.
        word : str
            Text before the name of the plane.

        Examples
        --------
        >>> setting = Setting(100.0, "Y", {})
        >>> Profile("D850", "mono", 4095.0, (setting,)).name_of(setting)
        'ISO 100, plane Y'
        >>> Profile("CCD", "mono", 4095.0, (setting,), {"nominal_iso": True}).name_of(setting)
        'plane Y, nominal ISO 100'
        """
        plane = f"{word}{setting.plane}"
        if self.provenance.get("nominal_iso") is True:
            return f"{plane}, nominal ISO {setting.iso:g}"
        return f"ISO {setting.iso:g}, {plane}"

    def at(self, iso: float, plane: str) -> Setting:
        """Return the setting of an ISO and plane.

        Parameters
        ----------
        iso : float
            ISO.
        plane : str
            Name of the plane.

        Raises
        ------
        DataError
            The profile has no such setting.
        """
        for setting in self.settings:
            if setting.iso == iso and setting.plane == plane:
                return setting
        raise DataError(
            f"{self.camera}: the profile has no plane {plane} at ISO {iso:g}; its ISOs are "
            f"{', '.join(map('{:g}'.format, self.isos))}"
        )

    def to_json(self) -> str:
        """Return the profile as indented JSON with a checksum."""
        fields = _plain({"schema": SCHEMA, **asdict(self)})
        fields[CHECKSUM] = checksum_of(fields)
        return json_text(fields)

    @classmethod
    def from_json(cls, text: str, source: str = "camera.json") -> "Profile":
        """Parse the JSON of a profile.

        Parameters
        ----------
        text : str
            JSON as written by `to_json`; the checksum may be missing.
        source : str
            Name of the file, for messages.

        Returns
        -------
        Profile
            The profile.

        Raises
        ------
        DataError
            Not JSON, another schema, a wrong checksum, or fields that are missing, unknown or of the wrong unit.
        """
        fields = json_value(text, source, WHAT, DataError)
        found = fields.get("schema") if isinstance(fields, dict) else None
        if found != SCHEMA:
            raise DataError(f"{source}: has schema {found!r}; expected {SCHEMA!r}, as written by `noiseflow calibrate`")
        checked(fields, profile_schema(SCHEMA, SETTING_KINDS), source, DataError, f"expected {WHAT}")
        stated = fields.pop(CHECKSUM, None)
        if stated is not None and stated != checksum_of(fields):
            raise DataError(
                f"{source}: was changed since it was written (its SHA-256 checksum differs); calibrate again, or, if "
                f"you changed it yourself, remove the line {CHECKSUM!r}"
            )
        del fields["schema"]
        try:
            settings = tuple(_setting(entry) for entry in fields.pop("settings"))
            cautions = tuple(fields.pop("cautions", ()))
            return cls(**fields, settings=settings, cautions=cautions)
        except (KeyError, TypeError, ValueError, AttributeError, NoiseflowError) as error:
            raise DataError(f"{source}: is not a complete profile ({error}); calibrate again") from error


def is_protected(path: str | Path) -> bool:
    """Return whether a profile's file contains a checksum; files of earlier versions do not."""
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
    """Convert to JSON values; an infinite end of an interval becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return None
    return value


def read_profile(path: str | Path) -> Profile:
    """Read a profile from its JSON file.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    Profile
        The profile.

    Raises
    ------
    DataError
        No such file, or not a valid profile; see `Profile.from_json`.
    """
    path = Path(path)
    return Profile.from_json(read_text(path, WHAT, DataError), str(path))


def write_profile(profile: Profile, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a profile as JSON; the file appears under its name only when complete.

    Parameters
    ----------
    profile : Profile
        The profile.
    path : path
        File to write.
    overwrite : bool
        Whether to replace an existing profile; other files are never replaced.

    Raises
    ------
    OutputError
        The file exists and may not be replaced, or cannot be written.
    """
    with writing(path, overwrite=overwrite) as path:
        write_text(path, profile.to_json(), replace=overwrite)
