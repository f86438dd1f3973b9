"""Verification: statistics per start, scores as functions of mean statistics, the scorecard."""
