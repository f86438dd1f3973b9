"""Latents of a window: encoders, posteriors, priors, members of ensembles."""
