"""Benchmarks: models on data sets as listed in a TOML file, scored into one table."""
