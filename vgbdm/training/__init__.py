"""Training: the loop, its backends, checkpoints, schedules and records."""
