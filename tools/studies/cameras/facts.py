"""Curves of cameras from published numbers that lie in shared/data, each with its source."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from noiseflow.calibrate import calibrate
from noiseflow.calibrate.prior.curve import CameraCurve
from noiseflow.simulate import load_camera

__all__ = ["known_curves"]

PUBLISHED = 0.02
"""Relative error of a published gain or noise of which the source gives none."""

ELD_ISOS = (100.0, 400.0, 1600.0, 6400.0)
ELD_CAMERAS = {
    "NikonD850": "Nikon D850",
    "CanonEOS5D4": "Canon 5D4",
    "CanonEOS70D": "Canon 70D",
    "CanonEOS700D": "Canon 700D",
}
ELD_SPAN = 15871.0

SIDD_CAMERAS = {"GP": "Google Pixel", "N6": "Nexus 6"}
"""The gains of the iPhone and the LG G4 do not follow their ISO: left out. The Galaxy S6 ships with the package."""

NAN = float("nan")


def _row(span: float, gain: float, read: float, row: float = NAN, tail: float = NAN) -> list[float]:
    """`OBSERVED` from numbers in DN; `read` without rounding, rows included."""
    return [np.log(span / gain), np.log(read / gain), np.log(row / read) if row > 0 else NAN, tail]


def _curve(
    name: str, isos: Sequence[float], rows: list[list[float]], errors: Sequence[float], source: str
) -> CameraCurve:
    values = np.array(rows, float)
    return CameraCurve(
        name, np.array(isos, float), values, np.where(np.isfinite(values), np.array(errors), NAN), source
    )


def _shipped(name: str) -> CameraCurve:
    camera = load_camera(name)
    rows = []
    for iso, at in camera.isos.items():
        read = float(np.hypot(camera.read_sigma_dn(iso), at.row_sigma_dn))
        tail = at.read_lambda if camera.read_shape == "tukey-lambda" else NAN
        rows.append(_row(camera.white_dn - camera.black_dn, at.gain_dn_per_e, read, at.row_sigma_dn, tail))
    # The read noise of the Galaxy is of one digit.
    read_error = 0.25 if name == "Galaxy S6" else PUBLISHED
    return _curve(name, list(camera.isos), rows, (PUBLISHED, read_error, 0.05, 0.02), camera.source)


def _eld(folder: Path) -> list[CameraCurve]:
    table = json.loads((folder / "eld_camera_params.json").read_text("utf-8"))
    found = []
    for key, name in ELD_CAMERAS.items():
        entry, rows = table[key], []
        lines, tails = entry["Profile-1"], entry["G_shape"]
        for k, iso in enumerate(ELD_ISOS):
            gain = entry["Kmin"] * iso / 100
            pixel, row = (np.exp(lines[n]["slope"] * np.log(gain) + lines[n]["bias"]) for n in ("g_scale", "R_scale"))
            tail = tails[round(k * (len(tails) - 1) / (len(ELD_ISOS) - 1))]
            rows.append(_row(ELD_SPAN, gain, float(np.hypot(pixel, row)), float(row), tail))
        # The lines' own scatter: they are straight, the cameras' curves are not.
        found.append(
            _curve(name, ELD_ISOS, rows, (0.03, 0.2, 0.2, 0.04), "Wei et al., CVPR 2020, lines of log scale over log K")
        )
    return found


def _sidd(folder: Path) -> list[CameraCurve]:
    lines = [line.split(",") for line in (folder / "cam_iso_nlf_all.txt").read_text("utf-8").split()[1:]]
    found = []
    for key, name in SIDD_CAMERAS.items():
        own = [(float(label[3:]), float(a), float(b)) for label, a, b in lines if label.startswith(key)]
        rows = [_row(1.0, slope, max(offset, 1e-7) ** 0.5) for _, slope, offset in own]
        curve = _curve(name, [iso for iso, *_ in own], rows, (0.03, 0.15, 1, 1), "SIDD, noise level functions")
        # A floor of 2e-6 to 3e-6 has one digit.
        rough = np.array([offset < 4e-6 for *_, offset in own])
        curve.errors[rough, 1] = 0.25
        found.append(curve)
    return found


def _others(folder: Path) -> list[CameraCurve]:
    facts = json.loads((folder / "published_noise_facts.json").read_text("utf-8"))
    (hdr,) = (value for key, value in facts.items() if key.startswith("HDRUtils"))
    found = []
    isos = (100.0, 400.0, 1600.0)
    rows = [_row(1.0, 1.80710882e-4 * iso / 100, (3.1937599182128e-6) ** 0.5 * iso / 100) for iso in isos]
    found.append(_curve("Pixel 4", isos, rows, (0.03, 0.2, 1, 1), "handheld-multi-frame README (MIT)"))
    for key, name in (("SonyA7r1", "Sony A7R"), ("CanonT1", "Canon T1i"), ("SamsungS9", "Samsung S9")):
        entry = hdr[key]
        gain, span = entry["k"][1], 0.95 * 2.0 ** entry["bits"]
        read = float(np.hypot(entry["std_read"] * gain, entry["std_adc"]))
        row = _row(span, gain, read) if key != "SonyA7r1" else [np.log(span / gain), NAN, NAN, NAN]
        found.append(_curve(name, (100.0,), [row], (0.08, 0.3, 1, 1), "HDRUtils 1.2 (MIT)"))
    return found


def _tables(folder: Path) -> list[CameraCurve]:
    found = []
    for name, files, most, span in (
        ("Nikon Z6 II", ("Nikon_Z6_2_flat.csv", "Nikon_Z6_2_dark.csv"), 25600.0, 15375.0),
        ("Nikon D5100", ("Nikon_D5100_flat.csv",), 1600.0, 16383.0),
    ):
        profile = calibrate([folder / file for file in files]).profile
        isos, rows = [], []
        for setting in profile.settings:
            gain, read = setting.value("gain_dn_per_e"), setting.value("read_noise_dn")
            if gain is not None and setting.iso <= most:
                isos.append(setting.iso)
                rows.append(_row(span, gain, (read**2 - 1 / 12) ** 0.5 if read else NAN))
        found.append(_curve(name, isos, rows, (0.02, 0.05, 1, 1), "photon-transfer tables"))
    return found


def known_curves(data: Path) -> list[CameraCurve]:
    """Curves of all cameras of which there are numbers; `data` is shared/data."""
    shipped = [_shipped(name) for name in ("Sony A7S2", "CRVD IMX385", "Galaxy S6", "IMX686")]
    return [
        *shipped,
        *_eld(data / "params"),
        *_sidd(data / "params"),
        *_others(data / "params"),
        *_tables(data / "ptc"),
    ]
