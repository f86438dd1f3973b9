"""What is tried of every row of the systems' table: the grid that is printed beside it.

As many trials for each row, the first with the options of its config; the one whose validation
score is lowest is taken. Keys are those of `systems_rule.TUNED`.
"""

SLOWER, FASTER = "rate.peak=7.0e-4", "rate.peak=5.0e-3"
"""A third and two and a half times the learning rate of the config."""

TRIALS: dict[str, list[list[str]]] = {
    "vgbdm": [[], [SLOWER], [FASTER], ["objective.schedules.gauge.start=3.0e-3"]],
    "blackbox": [[], [SLOWER], [FASTER], ["objective.schedules.beta_zeta.end=3.0e-5"]],
    "node": [[], [SLOWER], [FASTER], ["objective.ahead=5"]],
    "physvae": [[], [SLOWER], [FASTER], ["objective.ahead=5"]],
    "aphynity": [[], [SLOWER], [FASTER], ["objective.ahead=5"]],
}
"""Objective → the overrides of each trial."""
