"""Readers of published data sets beside SIDD, one file each."""
