"""λ by validation error alone."""

import copy

import pytest

from physics_systems.evaluation.gauge_choice import choose_gauge
from vgbdm.errors import InputError
from vgbdm.training import checkpoint
from vgbdm.training.parts import Part

CONFIG = {
    "seed": 1, "run_dir": "x", "batch": 8, "system": {"presets": {"gauge": 0.1}},
    "objective": {"places": {"seed": 1}, "schedules": {"gauge": {"start": 0.1}}},
}  # fmt: skip


def run(place, gauge, seed, score, **changes):
    config = copy.deepcopy(CONFIG) | {"seed": seed, "run_dir": str(place)} | changes
    config["objective"]["schedules"]["gauge"]["start"] = gauge
    config["system"]["presets"]["gauge"] = gauge
    config["objective"]["places"]["seed"] = seed
    name = place / f"{gauge}-{seed}"
    folder = checkpoint.write_checkpoint(name, Part({}), {"step": 1, "config": config})
    checkpoint.point(name, "best", folder, score=score)


def test_the_largest_within_the_tolerance_over_seeds(tmp_path):
    for gauge, scores in ((0.0, (1.0, 2.0)), (0.01, (1.5, 1.6)), (0.1, (1.0, 2.2)), (0.03, (3, 3))):
        for seed, score in enumerate(scores):
            run(tmp_path, gauge, seed, score)
    chosen, table = choose_gauge(tmp_path, 0.05)
    assert chosen == 0.01
    assert table.set_index("gauge").loc[0.1, "ratio"] == pytest.approx(3.2 / 3)
    assert choose_gauge(tmp_path, 0.1)[0] == 0.1


def test_what_is_just_within_the_tolerance_is_allowed(tmp_path):
    for gauge, score in ((0.0, 2.0), (0.01, 2.5), (0.1, 2.75)):
        run(tmp_path, gauge, 1, score)
    chosen, table = choose_gauge(tmp_path, 0.25)
    assert chosen == 0.01
    assert table.to_dict("list") == {
        "gauge": [0.0, 0.01, 0.1], "runs": [1, 1, 1], "score": [2.0, 2.5, 2.75],
        "ratio": [1.0, 1.25, 1.375],
    }  # fmt: skip


def test_runs_that_cannot_be_compared_are_refused(tmp_path):
    run(tmp_path, 0.01, 1, 1.0)
    with pytest.raises(InputError, match="no run with λ = 0"):
        choose_gauge(tmp_path, 0.05)
    run(tmp_path, 0.0, 1, 1.0, batch=16)
    with pytest.raises(InputError, match="more than λ and seed"):
        choose_gauge(tmp_path, 0.05)
