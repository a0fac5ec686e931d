"""Figures and words of reports."""
