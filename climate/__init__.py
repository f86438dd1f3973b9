"""Global weather: sources, training store, stream, sphere, models, forecasts, verification."""

MODEL_PARTS = (
    "climate.models.advection.GreyBoxAdvection",
    "climate.models.blackbox.BlackBox",
    "climate.models.climode.ClimODE",
    "climate.models.domain.Domain",
    "climate.models.integration.WindowSolver",
    "climate.models.latents.WeatherLatents",
    "climate.regions.Region",
    "climate.sphere.FiniteDifferenceOperators",
)
"""Classes of this package that a model is made of: what a checkpoint may name."""

BUILDABLE = (
    *MODEL_PARTS,
    "climate.objectives.GaussianLikelihood",
    "climate.sources.cf_files.CFFilesSource",
    "climate.sources.weatherbench.WeatherBenchSource",
    "climate.sources.zarr_store.ZarrStoreSource",
)
"""Classes of this package that a config may name; a new one is added here."""
