"""The typed schema of options: what may be given, and one line for what may not."""
