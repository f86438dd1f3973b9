"""The one fair protocol, and the scores of runs under it."""
