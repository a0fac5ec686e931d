"""The one way to read a text file of ours: parse strictly, compare with a written schema, only then build."""
