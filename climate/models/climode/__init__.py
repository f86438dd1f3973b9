"""ClimODE: its field, its layers, its solver and the fit of its initial wind."""
