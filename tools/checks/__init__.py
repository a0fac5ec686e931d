"""Checks of the whole: a newcomer's path, bounds of dependencies, the slow tests."""
