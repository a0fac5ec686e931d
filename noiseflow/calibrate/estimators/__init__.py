"""Estimators that the measurements share."""
