"""Exact densities of simulated cameras."""
