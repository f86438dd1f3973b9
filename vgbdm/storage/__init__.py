"""What lies on a disk: whole or not at all, sealed by digests, let in by one door."""
