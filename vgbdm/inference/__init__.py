"""Latents refined on what was observed, and intervals calibrated on held-out windows."""
