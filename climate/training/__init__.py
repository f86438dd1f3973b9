"""Training on weather: from a store and a config to a run folder."""
