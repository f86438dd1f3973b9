"""Global weather, in rooms from conventions up to reports; each imports only rooms below it.

conventions, sample; grids; store, operators; sources, conversion; models, stream; forecasts,
training; verification; report. `make lint` holds the order.
"""

FORMER_MODULES = {
    "climate.models.climode": "climate.models.climode.model",
    "climate.models.integration": "climate.models.climode.integration",
    "climate.models.latents": "climate.models.sphere_latents",
    "climate.objectives": "climate.training.likelihood",
    "climate.regions": "climate.grids.regions",
    "climate.sphere": "climate.operators.sphere",
}
"""Modules of classes that saved runs name as an earlier version did, and where they are now."""
