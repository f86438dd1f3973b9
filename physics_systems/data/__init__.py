"""Trajectories: simulated, imported, stored, streamed."""
