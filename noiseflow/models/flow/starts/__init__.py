"""Initialisation of the default model: each part from moments and likelihoods of the training patches."""
