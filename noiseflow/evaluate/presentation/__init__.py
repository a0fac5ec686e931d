"""Figures, sentences and tables of reports, made from the numbers of the metrics."""
