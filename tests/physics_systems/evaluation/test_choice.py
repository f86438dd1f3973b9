"""Refined or not: by validation error, for all seeds of a row alike."""

import logging

import numpy as np
import pytest
import torch
from system_fields import make_field, trajectories

from physics_systems.evaluation import choice, protocol
from physics_systems.evaluation.rows import Row
from vgbdm import scores
from vgbdm.fields.grey_box import Window


def row(seed, refined, error, objective="node", variant="a"):
    numbers = {"objective": objective, "variant": variant, "seed": seed, "refined": refined}
    if error is not None:
        numbers["validation_mse"] = error
    return Row(numbers, np.zeros(1), None, None)


def chosen(rows):
    choice.choose(rows)
    return [own.numbers["chosen"] for own in rows]


def test_the_mean_over_seeds_decides_for_all_of_them():
    """The second seed alone would be refined."""
    rows = [row(1, True, 5.0), row(1, False, 1.0), row(2, True, 2.0), row(2, False, 3.0)]
    assert chosen(rows) == [False, True, False, True]
    rows[1].numbers["validation_mse"] = 4.5
    assert chosen(rows) == [True, False, True, False]


def test_each_variant_has_its_own_choice():
    rows = [row(1, True, 1.0), row(1, False, 2.0)]
    others = [row(1, True, 2.0, variant="b"), row(1, False, 1.0, variant="b")]
    alone = row(1, False, None, objective="blackbox")
    assert chosen([*rows, *others, alone]) == [True, False, False, True, True]


def test_a_failed_validation_is_not_chosen():
    rows = [row(1, True, np.inf), row(1, False, 9.0), row(2, True, 0.1), row(2, False, 9.0)]
    assert chosen(rows) == [False, True, False, True]


@pytest.mark.parametrize("errors", [(np.inf, np.inf), (None, None), (1.0, None)])
def test_where_nothing_decides_a_row_stays_as_configured_and_that_is_said(errors, caplog):
    rows = [
        row(1, True, errors[0]),
        row(1, False, 0.5),
        row(2, True, 1.0),
        row(2, False, errors[1]),
    ]
    with caplog.at_level(logging.WARNING):
        assert chosen(rows) == [True, False, True, False]
    assert "as configured" in caplog.text


def test_the_other_way_is_the_encoders_answer_with_widths_of_its_own():
    field, data = make_field("rlc", shake=0.3), trajectories("rlc", 6)
    own, plain = choice.ways(field, data)
    assert own is field and protocol.refines(field) and not protocol.refines(plain)
    window = Window(data.x[:, :10], data.t[:, :10])
    encoder = plain.physical(field.infer(window)[1])
    assert torch.allclose(protocol.forecast_means(plain, data)[1], encoder)
    assert not torch.allclose(protocol.forecast_means(field, data)[1], encoder, rtol=1e-3)
    assert torch.equal(field.theta_factor, torch.ones(2))
    assert not torch.allclose(plain.theta_factor, torch.ones(2))
    assert torch.equal(choice.ways(field, None)[1].theta_factor, torch.ones(2))
    assert choice.ways(plain, data) == [plain]


def test_the_error_is_that_of_the_forecast():
    field, data = make_field("rlc", shake=0.3), trajectories("rlc", 6)
    forecast, _ = protocol.forecast_means(field, data)
    want = scores.mean_square_errors(forecast, data.x[:, 10:]).mean()
    assert choice.validation_error(field, data) == float(want)
    with torch.no_grad():
        field.network.last.bias.fill_(torch.nan)
    assert choice.validation_error(field, data) == np.inf


def test_a_run_is_decided_on_its_own_store_unless_another_is_given(tmp_path, caplog):
    assert choice.validation_store("asked", str(tmp_path), tmp_path) == "asked"
    assert choice.validation_store(None, str(tmp_path), tmp_path) == str(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert choice.validation_store(None, str(tmp_path / "gone"), tmp_path) is None
    assert "gone is not there" in caplog.text
