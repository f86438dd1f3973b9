"""Global weather: sources, training store, stream, sphere, models, forecasts, verification."""
