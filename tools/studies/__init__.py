"""Studies over many simulated fits and calibrations: intervals, false alarms, sizes, coarse codes."""
