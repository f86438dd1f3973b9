"""What keeps the network from doing the work of the physics (docs/method.md#gauge)."""

from torch import Tensor

EPSILON = 1e-3
"""Keeps the gradient finite where the network is zero, as it is at the start."""


def gauge(mean_squares: Tensor) -> Tensor:
    """R = Σ_k (√(m_k + ε²) - ε), per sample (B,).

    Args:
        mean_squares: (B, K) mean square of each part of the network over one sample's draws, in
            units of what it is a part of.
    """
    return ((mean_squares + EPSILON**2).sqrt() - EPSILON).sum(1)
