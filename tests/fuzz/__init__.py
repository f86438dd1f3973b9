"""Tries to make the readers of what the project writes believe something that is not so."""
