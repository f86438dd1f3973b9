"""Classes that a config may name: how they are marked, found, built and renamed."""
