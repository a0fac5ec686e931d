"""The evaluation report and the comparison of reports."""
