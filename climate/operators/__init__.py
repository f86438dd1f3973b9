"""Derivatives and modes on the sphere and on a box of it."""
