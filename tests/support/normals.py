"""The CRPS of a normal distribution, which that of members drawn from it approaches."""

import numpy as np
from scipy.stats import norm


def normal_crps(error, std):
    """σ [z (2Φ(z) - 1) + 2φ(z) - 1/√π], z = error/σ (Gneiting et al. 2005, eq. 5)."""
    z = error / std
    return std * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))
