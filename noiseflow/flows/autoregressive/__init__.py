"""Autoregressive transforms and their inverse by wavefronts."""
