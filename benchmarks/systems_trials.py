"""What is tried of every row of the systems' table: the grid that is printed beside it.

As many trials for each row, the first with the options of its config; the one whose validation
score is lowest is taken. Keys are those of `systems_rule.TUNED`.
"""

FASTER = ["rate.peak=4.0e-3", "backend.clip=0.1"]
FASTEST = ["rate.peak=8.0e-3", "backend.clip=0.1"]
"""Twice and four times the learning rate of the config, with a tenth of the largest gradient norm,
as a simulation's gradients have the longer tail. Half of the config's was tried too: for 30 s of
steps, of eight rows of RLC, it was worse in each."""
HORIZON = ["objective.ahead=16"]
"""Longer than the preset of Lorenz (10) and reaction–diffusion (12), shorter than the others' (25);
forecasts of every system start where as many frames are left."""

NO_GAUGE = ["objective.schedules.gauge.start=0.0"]
"""Where inputs do not tell θ, λ may cost forecasts more than it helps: RLC with everything in the
state, a minute, seed 1, had a relative MSE on validation of .0028 with λ = .01, .00024 without."""

TRIALS: dict[str, list[list[str]]] = {
    "vgbdm": [[], FASTER, FASTEST, NO_GAUGE],
    "blackbox": [[], FASTER, FASTEST, ["objective.schedules.beta_zeta.end=3.0e-5"]],
    "node": [[], FASTER, FASTEST, HORIZON],
    "physvae": [[], FASTER, FASTEST, HORIZON],
    "aphynity": [[], FASTER, FASTEST, HORIZON],
}
"""Objective → the overrides of each trial."""
