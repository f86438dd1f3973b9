"""What a store says of its truth."""

import dataclasses

import numpy as np
import torch
from system_fields import SYSTEMS, dataset

from physics_systems.data.simulate import simulate
from physics_systems.data.trajectories import write
from physics_systems.evaluation.sets import read_set


def test_states_parameters_and_their_origin_are_those_of_the_store(tmp_path):
    made = simulate(SYSTEMS["lorenz"], 5, 3, noise=0.1, parameters="prior")
    write(made, tmp_path / "store")
    test = read_set(tmp_path / "store", SYSTEMS["lorenz"], 11, 4)
    assert len(test) == 4 and test.from_prior
    assert np.array_equal(test.data.x, made["x"][:4]) and np.array_equal(test.data.t, made["t"][:4])
    assert np.array_equal(test.target, made["truth"][:4])
    assert not torch.equal(test.target, test.data.x)
    assert np.array_equal(test.parameters["rho"], made["params"][:4, 1])


def test_without_noise_the_observations_are_the_target():
    test = read_set(dataset("lorenz"), SYSTEMS["lorenz"], 11)
    assert test.states is None and test.target is test.data.x and len(test) == 12
    bare = read_set(dataset("lorenz").drop_vars(["params", "param"]), SYSTEMS["lorenz"], 11)
    assert bare.parameters is None and not bare.from_prior


def test_only_draws_from_the_prior_of_the_models_tell_of_calibration():
    made = simulate(SYSTEMS["rlc"], 3, 3, parameters="prior")
    assert read_set(made, SYSTEMS["rlc"], 11).from_prior
    assert not read_set(dataset("rlc"), SYSTEMS["rlc"], 11).from_prior  # of ranges
    wider = dataclasses.replace(SYSTEMS["rlc"], prior={"L": [2.5, 0.9], "C": [1, 0.4]})
    assert not read_set(made, wider, 11).from_prior
    unsaid = made.assign_attrs(system_config="{}")
    assert not read_set(unsaid, SYSTEMS["rlc"], 11).from_prior
