"""Weather models."""
