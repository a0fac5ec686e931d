"""Commands on files and cameras."""
