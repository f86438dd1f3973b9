"""Rows of a grid that lie on the poles, where all longitudes are one place.

Shapes: ``...`` leading axes, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from climate.grids.grid import Grid
from climate.models.scalars import Variables, as_channels, as_scalars
from climate.operators.sphere import TangentBasis


class PoleRows(nn.Module):
    """States with one value at each pole.

    A row of a scalar becomes its zonal mean. A row of a vector becomes the mean of its Cartesian
    components, seen at each longitude along the east and north there.

    Args:
        grid: with rows at the poles.
        variables: of the states.
    """

    def __init__(self, grid: Grid, variables: Variables) -> None:
        super().__init__()
        self.variables = variables
        self.basis = TangentBasis(Grid(np.array([-90.0, 90.0]), grid.lon))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """States (..., C, H, W) of which no other rows are changed.

        Args:
            x: the states.
            mask: (C, H, W) points without values; a row with such points stays as it is.
        """
        last = x.shape[-2] - 1
        rows = x[..., ::last, :].flatten(0, -4)
        fields = as_scalars(rows, self.variables, self.basis)
        means = fields.mean(-1, keepdim=True).expand_as(fields)
        single = as_channels(means, self.variables, self.basis)
        if mask is not None:
            single = torch.where(mask[:, ::last].any(-1, keepdim=True), rows, single)
        south, north = single.view(*x.shape[:-2], 2, -1).split(1, -2)
        return torch.cat((south, x[..., 1:-1, :], north), -2)
