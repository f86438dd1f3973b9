"""The benchmark systems, one a file."""
