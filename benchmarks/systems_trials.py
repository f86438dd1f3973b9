"""The grid of trials: options that are tried for each objective, as many for each.

One of them is chosen by validation score alone, see `systems_tuning`.
"""

TRIALS: dict[str, list[list[str]]] = {
    "vgbdm": [["rate.peak=1e-3"], ["rate.peak=2e-3"], ["rate.peak=4e-3"]],
    "blackbox": [["rate.peak=1e-3"], ["rate.peak=2e-3"], ["rate.peak=4e-3"]],
    "node": [["rate.peak=1e-3"], ["rate.peak=2e-3"], ["rate.peak=4e-3"]],
    "physvae": [["rate.peak=1e-3"], ["rate.peak=2e-3"], ["rate.peak=4e-3"]],
    "aphynity": [["rate.peak=1e-3"], ["rate.peak=2e-3"], ["rate.peak=4e-3"]],
}
