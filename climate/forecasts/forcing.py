"""What a model is to be given ahead of its forecasts: its forcing channels at their valid times.

By default they are the later states of the store that it starts from, where that goes on; else of
a store or a forecast that is named. All times are looked for before anything is computed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from climate.conventions.calendar import as_step
from climate.forecasts.ahead_sources import Wanted
from climate.forecasts.known_ahead import KnownAhead, known_ahead
from climate.forecasts.starts import Given, InitialStates
from climate.forecasts.states import WHERE, known_states
from climate.models.forecaster import Forecaster, forcing_of
from vgbdm.errors import InputError

ARGUMENT = "forcing"


def forcing_ahead(
    model: Forecaster,
    initial: InitialStates,
    leads: int,
    members: int | None,
    given: Given | None,
    aside: Path | None = None,
) -> KnownAhead | None:
    """The forcing channels at the valid times of forecasts; None where the model has none.

    Args:
        model: that forecasts.
        initial: where it starts.
        leads: model steps.
        members: of an ensemble; None: one forecast without draws.
        given: where they are; None: in what the initial states are from.
        aside: folder for monthly means of a read-only store.

    Raises:
        InputError: one line: where something is given to a model without such channels; where a
            valid time of a start is missing, and until when there are some; for another grid, unit
            or step.
    """
    names = forcing_of(model)
    if not names:
        if given is not None:
            raise InputError(
                f"{ARGUMENT}: the model has no forcing channels, it was trained with "
                "roles.forcing=[]; leave forcing out"
            )
        return None
    wanted = Wanted(ARGUMENT, ARGUMENT, names, as_step(model.step_seconds), leads, members)
    if given is not None:
        return _known(given, wanted, model, initial, aside)
    try:
        return _known(initial.source, wanted, model, initial, aside, WHERE)
    except InputError as error:
        raise InputError(
            f"{str(error).removeprefix(f'{ARGUMENT}=')}; or give forcing=, a store that holds "
            f"{', '.join(names)} until then"
        ) from None


def _known(
    source: Given,
    wanted: Wanted,
    model: Any,
    initial: InitialStates,
    aside: Path | None,
    where: str = ARGUMENT,
) -> KnownAhead:
    if not isinstance(source, xr.Dataset | xr.DataArray):
        return known_ahead(source, wanted, initial, aside)
    if "lead_time" not in source.dims:
        return known_states(source, wanted, model, initial, where)
    if isinstance(source, xr.DataArray):
        source = source.to_dataset(name=source.name or wanted.channels[0])
    return known_ahead(source, wanted, initial, aside)
