"""How the default model starts: each part from moments and likelihoods of the training patches."""
