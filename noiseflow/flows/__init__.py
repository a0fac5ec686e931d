"""Invertible transforms and the flows made of them."""

import lazy_loader

# A layer is loaded with its name, so that a model's import is quick.  The names stand in __init__.pyi, once.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
