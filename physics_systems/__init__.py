"""Benchmarks of ordinary and partial differential equations (docs/method.md#benchmark-systems)."""
