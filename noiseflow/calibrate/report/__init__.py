"""HTML page of a calibration."""

from noiseflow.calibrate.report.page import write_page

__all__ = ["write_page"]
