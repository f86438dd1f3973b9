"""How much wider parameters are than Laplace says, where the residuals of a window err together.

Laplace takes the R residuals of a window for independent numbers. Let S (R, R) be their second
moments over many windows, each in units of its own σ; then the parameters' covariance is that of a
sandwich, H⁻¹ (J' S J + 1_ζ) H⁻¹ with H = J'J + 1_ζ the precision of Laplace, J in units of σ and
1_ζ the prior's (Huber 1967, White 1980; windows as clusters: Liang & Zeger 1986). Two corrections
are those that linear models have: a fit of U unknowns leaves R - U of R parts of the residuals, and
of a window's own residuals nothing is left along J, so that B windows are B - 1.

A fit takes away from residuals what lies along its own J. Where all windows have errors like J, as
where both are slow, the widths are told too small by it, up to two fifths in the test; and what all
have wrong alike along J is not seen at all.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vgbdm.inference.laplace import NOT_KNOWN, SMALLEST_VARIANCE
from vgbdm.precision import in_full


@in_full
def sandwich_factor(jacobian: Tensor, residuals: Tensor, latents: int) -> Tensor:
    """The root mean square over windows of the sandwich's widths of θ in those of Laplace.

    Args:
        jacobian: (B, R, U) at the windows' means; U unknowns, latents first, then P parameters.
        residuals: (B, R); windows of which a number is not finite are passed over.
        latents: how many of the unknowns are.

    Returns:
        (P,) float64; NaN where there are no two windows or no more residuals than unknowns.
    """
    kept = residuals.isfinite().all(1) & jacobian.flatten(1).isfinite().all(1)
    values, slopes = residuals[kept].double(), jacobian[kept].double()
    windows, count, unknowns = slopes.shape
    if windows < 2 or count <= unknowns:
        return values.new_full((unknowns - latents,), torch.nan)
    scale = values.square().mean(1).clamp_min(SMALLEST_VARIANCE).rsqrt()
    values, slopes = values * scale[:, None], slopes * scale[:, None, None]
    together = values.T @ values / (windows - 1) * count / (count - unknowns)
    prior = torch.zeros(unknowns, dtype=values.dtype, device=values.device)
    prior[:latents] = 1.0
    across = slopes.transpose(1, 2)
    lower = torch.linalg.cholesky_ex(across @ slopes + torch.diag(prior.clamp_min(NOT_KNOWN))).L
    inverse = torch.cholesky_inverse(lower)
    wider = inverse @ (across @ together @ slopes + torch.diag(prior)) @ inverse
    ratio = (wider.diagonal(dim1=1, dim2=2) / inverse.diagonal(dim1=1, dim2=2))[:, latents:]
    return ratio.clamp_min(0.0).nanmean(0).sqrt()
