"""Likelihoods of integer codes."""
