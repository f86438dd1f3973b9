"""The width of a dress is the size of validation's errors, by lead, channel and latitude."""

from dataclasses import replace

import numpy as np
import pytest
from refusals import refused
from uneven_forecasts import STARTS, forecast

from climate.verification.dressing import _mean_of_rows, validation_spread


def test_the_width_is_the_root_mean_square_error_of_the_mean_by_lead_channel_and_row(store):
    dress, errors = forecast(store)
    plain, _ = forecast(store, np.array([400]), leads=2, members=1)
    spread = validation_spread(dress, plain, store)
    want = np.sqrt((errors.mean(1)[:, :2] ** 2).mean((0, -1)))
    assert spread.shape == (2, 3, 8)
    assert spread == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("start", [287, 342, 350, 400])
def test_what_reaches_out_of_validation_is_no_dress(store, start):
    starts = np.sort([300, start])
    dress, _ = forecast(store, starts)
    refused(lambda: validation_spread(dress, forecast(store)[0], store),
            "not all of it lies in the validation period")  # fmt: skip


def test_a_dress_of_other_leads_steps_grids_or_models_is_refused(store):
    plain, _ = forecast(store, np.array([400]), model_hash="a")
    for wrong in (
        forecast(store, leads=2)[0],
        forecast(store, STARTS[:2], leads=3, step=3)[0],
        replace(forecast(store)[0], area=replace(plain.area, lat=store.lat + 1)),
        replace(forecast(store)[0], area=replace(plain.area, lon=store.lon + 1)),
    ):
        refused(lambda wrong=wrong: validation_spread(wrong, plain, store), "its grid, step or")
    other, _ = forecast(store, model_hash="b")
    refused(lambda: validation_spread(other, plain, store), "made by another model")
    for told in ({"model_hash": "a"}, {}):
        assert validation_spread(forecast(store, **told)[0], plain, store).shape == (3, 3, 8)


def test_rows_are_averaged_over_what_is_kept_of_them():
    fields, kept = np.arange(12.0).reshape(1, 3, 4), np.zeros((3, 4), bool)
    kept[0, :2], kept[1, 3] = True, True
    assert _mean_of_rows(fields, kept).tolist() == [[0.5, 7.0, 0.0]]
    assert _mean_of_rows(fields, None).tolist() == [[1.5, 5.5, 9.5]]
