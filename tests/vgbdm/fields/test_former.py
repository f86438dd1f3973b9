"""Runs of the version before paths, regression and refinement were told to a field still load."""

import copy
import json
import math

import pytest
import torch

from vgbdm.errors import InputError
from vgbdm.fields.former import renewed_options
from vgbdm.inference.refinement import Refinement
from vgbdm.loading import load
from vgbdm.paths.hermite import HermitePath
from vgbdm.registry.build import rebuild
from vgbdm.registry.former import renewed
from vgbdm.training import checkpoint
from vgbdm.training.parts import Part

REBUILD = json.loads("""{"_target_": "vgbdm.fields.latent_field.LatentField", "encoder": {
"_partial_": true, "_target_": "vgbdm.latents.encoders.WindowMLP", "depth": 2, "width": 8},
"features": 8, "grey": true, "history": 2, "latents": 1, "network": {"_partial_": true,
"_target_": "vgbdm.networks.ResidualMLP", "depth": 2, "width": 8}, "physics": {
"_target_": "physics_systems.systems.pendulum.Pendulum", "angle": 1.57, "frames": 200,
"horizon": 19.9, "prior": {"omega": [2.0, 0.39]}, "ranges": {"gamma": [0.6, 1.5],
"omega": [0.785, 3.14]}}, "refinement": 5, "residual_inputs": ["dq"], "solver": {
"_target_": "vgbdm.dynamics.rollout.Solver", "method": "rk4", "substeps": 1}, "statistics": {
"_target_": "vgbdm.fields.latent_field.FieldStatistics", "interval": 0.1, "mean": [-0.04, 0.05],
"rate": [1.43], "std": [0.37, 0.6]}, "unmixing": null, "window": 12}""")
"""What a run of commit 193078f holds, less its presets."""


def old_run(place, rebuilt=REBUILD, **without):
    """A run folder of that version: its tensors had ``width`` and no factors."""
    field = rebuild(renewed(copy.deepcopy(rebuilt)))
    tensors = {k: v for k, v in field.state_dict().items() if not k.endswith("_factor")}
    tensors |= {"width": torch.tensor([0.7109])} if rebuilt["grey"] else {}
    tensors = {k: v for k, v in tensors.items() if k not in without}
    state = {"step": 4, "rebuild": rebuilt, "must_match": {}, "config": {}}
    checkpoint.commit(place, Part({"model": tensors, "exp_avg": {}}), state, 0.5, 1)
    return field


@pytest.mark.parametrize(("window", "count"), [(12, 9), (30, 23), (5, 4)])
def test_an_old_run_is_loaded_with_its_width_in_the_unit_of_now(tmp_path, window, count):
    """Nine intervals of one component count where the width once took them for one."""
    trained = old_run(tmp_path, REBUILD | {"window": window})
    field = load(tmp_path)
    assert field.theta_factor.item() == pytest.approx(0.7109 * math.sqrt(count))
    assert field.zeta_factor.tolist() == [1.0]
    assert field.refinement == Refinement(5, 3e-5, 4.0)
    assert isinstance(field.path, HermitePath) and field.path.stencil == 11
    assert field.regression.ridges == (1e-3, 1e-6) and field.regression.outputs == 9
    for name, value in trained.state_dict().items():
        assert name == "theta_factor" or torch.equal(field.state_dict()[name], value)


def test_an_old_black_box_is_loaded(tmp_path):
    old_run(tmp_path, REBUILD | {"grey": False, "residual_inputs": "state"})
    field = load(tmp_path)
    assert field.zeta_factor.tolist() == [1.0] and not hasattr(field, "theta_factor")


def test_what_else_is_missing_is_refused_as_ever(tmp_path):
    old_run(tmp_path, **{"merge.bias": None})
    with pytest.raises(InputError, match=r"merge\.bias"):
        load(tmp_path)


def test_options_of_now_stay_and_those_of_a_run_to_start_have_no_path():
    now = renewed_options(REBUILD)
    assert renewed_options(now) == now
    bare = {k: v for k, v in REBUILD.items() if k not in ("physics", "statistics")}
    assert "path" not in renewed_options(bare) and "regression" in renewed_options(bare)
    null = now | {"regression": None, "refinement": None}
    assert renewed_options(null) == null
