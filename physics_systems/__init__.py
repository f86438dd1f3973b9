"""Benchmarks of ordinary and partial differential equations (docs/method.md#benchmark-systems)."""

FORMER_MODULES = {
    "physics_systems.lorenz": "physics_systems.systems.lorenz",
    "physics_systems.pendulum": "physics_systems.systems.pendulum",
    "physics_systems.reaction_diffusion": "physics_systems.systems.reaction_diffusion",
    "physics_systems.rlc": "physics_systems.systems.rlc",
}
"""Modules of classes that saved runs name as an earlier version did, and where they are now."""
