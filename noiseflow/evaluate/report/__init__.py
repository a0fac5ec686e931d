"""The evaluation report, and the comparison of two reports."""
