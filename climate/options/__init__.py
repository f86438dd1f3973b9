"""The options of the launchers of weather, held against configs before anything is opened."""
