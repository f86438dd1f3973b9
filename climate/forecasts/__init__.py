"""Forecast datasets: written, read, held to their truth and to their model."""
