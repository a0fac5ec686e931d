"""A benchmark of models on data sets, by a spec."""
