"""Grey-box fields: the protocol every model fulfils, and that for windows of trajectories."""
