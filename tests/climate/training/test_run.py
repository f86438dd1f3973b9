"""What of a model is learned how fast, and what stands still."""

import pytest
from weather import GRIDS, make_latents, make_model

from climate.training.run import freeze, parameter_groups


def names_of(model, parameters):
    wanted = {id(p) for p in parameters}
    return {name for name, p in model.named_parameters() if id(p) in wanted}


def test_weights_decay_physics_has_its_own_rate_and_the_rest_neither():
    model = make_model(GRIDS["coarse"], latents=make_latents())
    weights, rest, theta = parameter_groups(model, weight_decay=0.3, physics_rate=7.0)
    assert [(g.rate_factor, g.weight_decay) for g in (weights, rest, theta)] == [
        (1.0, 0.3), (1.0, 0.0), (7.0, 0.0)
    ]  # fmt: skip
    learned = names_of(model, theta.parameters)
    assert learned == {n for n, _ in model.named_parameters() if n.startswith("theta.")}
    decaying = names_of(model, weights.parameters)
    assert decaying and all(n.endswith("weight") for n in decaying)
    assert "trunk.last.bias" in names_of(model, rest.parameters)
    together = sum(len(g.parameters) for g in (weights, rest, theta))
    assert together == len(list(model.parameters()))


def test_frozen_parts_are_in_no_group_and_empty_groups_are_left_out():
    model = make_model(GRIDS["coarse"], physics=False, latents=make_latents())
    freeze(model, ["latents.posterior"])
    groups = parameter_groups(model, weight_decay=0.1, physics_rate=5.0)
    assert [g.weight_decay for g in groups] == pytest.approx([0.1, 0.0])
    held = {n for g in groups for n in names_of(model, g.parameters)}
    frozen = {n for n, _ in model.named_parameters() if n.startswith("latents.posterior.")}
    assert frozen and held == {n for n, _ in model.named_parameters()} - frozen
