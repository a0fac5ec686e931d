"""Readers and writers of raw formats, one file each."""
