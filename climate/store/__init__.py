"""The training store as it lies on disk, and reading it: layout, maps, statistics, crops."""
