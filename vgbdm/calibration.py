"""The width of the posterior of θ, set by the model's own simulations.

An ELBO does not see the error that inference makes on windows it was not trained on, and where
data have no noise that error is all there is. So the trained model makes windows of its own, with
θ from the prior and latents of held-out windows; θ is inferred back; and each parameter's
width is scaled until 90 % of the draws lie in the central 90 % of its posterior. No true parameter
of any data is used. (Simulation-based calibration: Talts et al. 2018.)

Shapes: ``B`` windows, ``T`` frames, ``C`` components, ``P`` parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vgbdm.inference import posterior_of
from vgbdm.latent_field import LatentField
from vgbdm.latents import Latents
from vgbdm.randomness import keyed_normal

LEVEL, NORMAL_QUANTILE = 0.9, 1.6448536
WIDEST = 100.0


@torch.no_grad()
def calibrate_width(field: LatentField, frames: Tensor, times: Tensor, seed: int) -> None:
    """Set ``field.width`` from windows that the field makes of held-out starts and latents.

    Args:
        field: with physics; a black box is left as it is.
        frames: (B, T, C, ...) held-out windows.
        times: (B, T).
        seed: of the draws.
    """
    if not field.grey:
        return
    rows = torch.arange(len(frames), device=frames.device)
    y = keyed_normal(seed, "calibration", rows, len(field.parameter_names)).to(frames.dtype)
    field.width.fill_(1.0)
    _, held_out = field.infer(frames, times)
    drawn = Latents(held_out.zeta, field.prior(y))
    depth = field.history if field.everything else 1
    start = field.begin(frames, times, depth - 1)
    states = field.simulate(start, frames[:, :depth], times[:, depth - 1 :], drawn)
    window = torch.cat((frames[:, :depth], states[:, :, : field.size]), 1)
    usable = window.flatten(1).isfinite().all(1)
    if int(usable.sum()) < 20:  # too few to tell a quantile
        return
    posterior = posterior_of(field, window[usable], times[usable])
    assert posterior.theta is not None
    distance = ((y[usable] - posterior.theta.mean) / posterior.theta.log_std.exp()).abs()
    widths = distance.nan_to_num(WIDEST).quantile(LEVEL, 0) / NORMAL_QUANTILE
    field.width.copy_(widths.clamp(1 / WIDEST, WIDEST))
