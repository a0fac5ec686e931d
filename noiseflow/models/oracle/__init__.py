"""The true densities of simulated cameras."""
