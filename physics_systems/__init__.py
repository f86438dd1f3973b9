"""The ordinary and partial differential equation benchmarks of METHOD §8."""
