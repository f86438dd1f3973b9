"""Units of three components of which no two are alike, so that a wrong one shows."""

import torch

MEAN, STD = torch.tensor([1.0, -2.0, 5.0]), torch.tensor([2.0, 0.5, 3.0])
CHANGE, AREA = torch.tensor([0.3, 0.8, 1.7]), torch.tensor([0.5, 0.3, 0.2])
"""The rms change per step, and the share of the area: components stand for places as well."""


class UnlikeUnits:
    """What a field says of units, for states (..., 3)."""

    def standardise(self, states):
        return (states - MEAN) / STD

    def in_changes(self, values):
        return values / CHANGE

    def area_mean(self, values):
        return (values * AREA).sum(-1)

    def mean_square(self, values):
        return self.area_mean((values / CHANGE).square())
