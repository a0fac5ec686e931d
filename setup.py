"""A stub for tools that ask for it; all metadata stands in setup.cfg."""

from setuptools import setup

setup()
