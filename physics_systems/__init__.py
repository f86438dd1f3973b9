"""Benchmarks of ordinary and partial differential equations (docs/method.md#benchmark-systems)."""

MODEL_PARTS = (
    "physics_systems.lorenz.Lorenz",
    "physics_systems.pendulum.Pendulum",
    "physics_systems.reaction_diffusion.ReactionDiffusion",
    "physics_systems.rlc.RLC",
)
"""Classes of this package that a model is made of: what a checkpoint may name."""

BUILDABLE = MODEL_PARTS
"""Classes of this package that a config may name; a new one is added above."""
