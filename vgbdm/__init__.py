"""The engine: paths, grey-box fields, objectives, rollouts and training. Knows no weather."""
