"""The black-box row: the same network on the same features, without physics.

See docs/method/weather.md#weather-black-box.

    dx/dt = S

S is the network's answer, in units of the change per model step, bounded; of diagnostic channels
it is not bounded.

Shapes: ``B`` samples, ``C`` channels, ``H`` latitudes, ``W`` longitudes.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from climate.models.domain import Domain
from climate.models.field import WeatherField
from climate.models.networks import soft_bound
from vgbdm.dynamics.rollout import Solver
from vgbdm.dynamics.tendency import Context, Tendency
from vgbdm.options.kinds import Positive, Size
from vgbdm.registry.marks import model_part


@model_part
class BlackBox(WeatherField):
    """The tendency is the network's.

    Args:
        domain: grid, channels, static fields and statistics.
        source_limit: bound of the tendency in standard deviations of the change per model step.
        substeps: Runge–Kutta steps in a model step.
        options: of `WeatherField`.
    """

    def __init__(
        self, domain: Domain, *, source_limit: Positive, substeps: Size, **options: Any
    ) -> None:
        outputs = len(domain.shown) - len(domain.forcing), len(domain.diagnostic)
        super().__init__(domain, sum(outputs), None, **options)
        self.outputs = outputs
        self.source_limit, self._solver = source_limit, Solver("rk4", substeps)

    @property
    def solver(self) -> Solver:
        """Classical Runge–Kutta."""
        return self._solver

    def forward(self, x: Tensor, t: Tensor, context: Context, weight: float = 1.0) -> Tendency:
        """Dx per model step in standardised units; there is no physics that ``weight`` scales."""
        _, out = self.network(x, t, context)
        own, diagnosed = out.split(self.outputs, 1)
        change = soft_bound(own, self.source_limit) * self.parts.prognostic(self.change)
        diagnosed = diagnosed if self.domain.diagnostic else None
        return Tendency(self.whole(change, diagnosed), {}, context.theta, {})
