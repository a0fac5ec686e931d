"""Invertible transforms and the flows made of them."""

import lazy_loader

# Layers are imported on first use, which keeps imports quick.  __init__.pyi lists the public names.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
