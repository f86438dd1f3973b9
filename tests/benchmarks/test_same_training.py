"""What compares two commits: it sees planted differences, and leaves no model or objective out."""

import csv
import math
import sys
from pathlib import Path

import pytest
import torch

REPO = Path(__file__).resolve().parents[2]
sys.path.append(str(REPO / "benchmarks"))

from same_training import Checkout, row  # noqa: E402
from same_training_differences import (  # noqa: E402
    MismatchError,
    compare,
    pair,
    relative,
    tensor_difference,
)
from same_training_driver import Recorder  # noqa: E402
from same_training_runs import chosen, systems, weather  # noqa: E402

WORLDS = {"weather": weather(), "systems": systems()}
CHOICES = [
    (world, path.parent.name, path.stem)
    for world, groups in (
        ("weather", ("model", "path", "operators", "task", "finetune")),
        ("systems", ("system", "objective", "path")),
    )
    for group in groups
    for path in sorted((REPO / "configs" / group).glob("*.yaml"))
]


@pytest.mark.parametrize(("world", "group", "name"), CHOICES)
def test_every_choice_is_trained(world, group, name):
    assert any(f"{group}={name}" in run.options for run in WORLDS[world])


def test_every_system_is_trained_by_every_objective():
    pairs = {tuple(o.split("=")[1] for o in run.options[:2]) for run in WORLDS["systems"]}
    names = {group: {n for w, g, n in CHOICES if (w, g) == ("systems", group)}
             for group in ("system", "objective")}  # fmt: skip
    assert pairs >= {(s, o) for s in names["system"] for o in names["objective"]}


def test_names_of_runs_are_their_own_and_fine_tuning_follows_its_start():
    names = [run.name for runs in WORLDS.values() for run in runs]
    assert len(names) == len(set(names))
    assert [run.name for run, _ in chosen("rlc rollout single")] == ["rlc vgbdm", "rlc rollout"]
    assert {layout for _, layout in chosen("rlc rollout")} == {"single", "ddp"}
    assert chosen("no such run") == []


# --- comparison -------------------------------------------------------------------------------

LOG = {"step": [1, 2], "loss": [0.5, 0.25], "kl": [1e-3, 2e-3], "crps": [0.1, ""]}


def write(folder, log=LOG, ranks=2, change=None):
    """Logs and records of a run; ``change`` may alter the record of the last rank."""
    (folder / "run").mkdir(parents=True)
    for name, table in (("log", log), ("validation", {"step": [2], "score": [0.7]})):
        with (folder / "run" / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*table, "samples_per_second"])
            for values in zip(*table.values(), strict=True):
                writer.writerow([*values, id(folder)])
    for rank in range(ranks):
        record = {
            "names": ["a", "b"],
            "gradients": [[torch.tensor([1.0, -2.0]), torch.tensor([0.01])] for _ in range(2)],
            "weights": [torch.tensor([3.0, 4.0]), torch.tensor([0.5])],
        }
        if change and rank == ranks - 1:
            change(record)
        torch.save(record, folder / f"record-{rank}.pt")
    return folder


def test_runs_alike_are_equal_whatever_their_speed(tmp_path):
    found = compare(write(tmp_path / "base"), write(tmp_path / "head"))
    assert found == (2, 0, 0, 0, 0, True, "", "") and not found.fault


def test_a_difference_of_any_part_of_a_loss_is_seen(tmp_path):
    base = write(tmp_path / "base")
    head = write(tmp_path / "head", LOG | {"kl": [1e-3, 2e-3 * (1 + 1e-5)]})
    found = compare(base, head)
    assert found.loss == pytest.approx(1e-5, rel=1e-3) and found.where == "kl"
    assert found.fault and not found.equal
    assert "**kl**" in row("run", found)


@pytest.mark.parametrize("step", [0, 1])
def test_a_difference_of_a_gradient_is_held_to_the_size_of_its_tensor(tmp_path, step):
    def change(record):
        record["gradients"][step][1] *= 1 + 1e-4

    found = compare(write(tmp_path / "base"), write(tmp_path / "head", change=change))
    assert found.gradient == pytest.approx(1e-4, rel=0.01) and found.fault
    assert (found.loss, found.weights, found.equal) == (0, 0, False)
    assert "gradient of b" in found.where


def test_a_difference_of_a_weight_is_seen(tmp_path):
    def change(record):
        record["weights"][0][0] += 4e-5

    found = compare(write(tmp_path / "base"), write(tmp_path / "head", change=change))
    assert found.weights == pytest.approx(1e-5, rel=0.01) and found.fault
    assert "weights a" in found.where


def test_rounding_is_no_fault_but_no_equality(tmp_path):
    def change(record):
        record["weights"][0][0] = torch.nextafter(record["weights"][0][0], torch.tensor(9.0))

    found = compare(write(tmp_path / "base"), write(tmp_path / "head", change=change))
    assert 0 < found.weights < 1e-7 and not found.fault and not found.equal


def test_parts_that_only_one_log_has_are_named(tmp_path):
    head = write(tmp_path / "head", {k: v for k, v in LOG.items() if k != "crps"})
    found = compare(write(tmp_path / "base"), head)
    assert found.notes == "in one alone: crps" and not found.fault


def test_what_is_not_of_the_same_steps_or_ranks_cannot_be_compared(tmp_path):
    base = write(tmp_path / "base")
    for name, options in (
        ("steps", {"log": LOG | {"step": [1, 3]}}), ("ranks", {"ranks": 1}), ("none", {"ranks": 0})
    ):  # fmt: skip
        with pytest.raises(MismatchError):
            compare(base, write(tmp_path / name, **options))


def test_parameters_are_paired_by_name_and_renamed_ones_in_their_order():
    shapes = [(2,), (3,), (4,)]
    pairs, moved = pair(["a", "b", "c"], ["new", "c", "a"], (shapes, [(3,), (4,), (2,)]))
    assert (pairs, moved) == ([(0, 2), (1, 0), (2, 1)], 1)
    with pytest.raises(MismatchError, match="b and new are of unlike shapes"):
        pair(["a", "b", "c"], ["new", "c", "a"], (shapes, [(9,), (4,), (2,)]))
    with pytest.raises(MismatchError, match="3 parameters in base, 2 in head"):
        pair(["a", "b", "c"], ["a", "c"], (shapes, [(2,), (4,)]))


def test_numbers_that_are_not_finite_are_far_from_all_but_their_like():
    assert relative(math.nan, math.nan, 0.0) == relative(math.inf, math.inf, 0.0) == 0
    assert relative(math.nan, 1.0, 0.0) == relative(1.0, math.inf, 0.0) == math.inf
    broken = torch.tensor([math.nan, 1.0])
    assert tensor_difference([(0, 0)], [broken], [torch.ones(2)])[0] == math.inf
    assert tensor_difference([(0, 0)], [None], [torch.ones(2)]) == (math.inf, 0, False)


def test_a_gradient_that_is_all_rounding_is_not_held_to_its_own_size():
    large, tiny = torch.ones(2), torch.tensor([1e-9])
    assert tensor_difference([(0, 0), (1, 1)], [large, tiny], [large, -tiny])[0] < 1e-5
    assert tensor_difference([(0, 0)], [tiny], [-tiny])[0] == pytest.approx(2)


# --- what is recorded, and how base is told -----------------------------------------------------


class Mover:
    """What is recorded of an optimiser."""

    def __init__(self, parameters):
        self.param_groups = [{"params": [p]} for p in parameters]


def test_a_record_has_the_first_gradients_and_the_last_weights_by_name(tmp_path):
    field = torch.nn.Bilinear(2, 3, 1)
    outer = torch.nn.ModuleDict({"wrapped": field})
    optimizer = Mover(reversed(list(outer.parameters())))
    recorder = Recorder(tmp_path / "record-0.pt", steps=3)
    for step in range(1, 4):
        field.weight.grad = torch.full_like(field.weight, step)
        recorder.before(optimizer)
        field.weight.data.fill_(10 * step)
        assert not (tmp_path / "record-0.pt").exists()
        recorder.after(optimizer)
    record = torch.load(tmp_path / "record-0.pt")
    assert record["names"] == ["bias", "weight"]
    assert [float(step[1].mean()) for step in record["gradients"]] == [1, 2]
    assert [step[0] for step in record["gradients"]] == [None, None]
    assert float(record["weights"][1].mean()) == 30


def test_base_is_told_its_own_names_and_lacks_what_it_has_not(tmp_path):
    base = Checkout.__new__(Checkout)
    base.code, base.renamed = tmp_path, {"model.latents.": "model.noise."}
    (tmp_path / "configs" / "model").mkdir(parents=True)
    config = tmp_path / "configs" / "model" / "gbdm.yaml"
    config.write_text("latents: 3\n")
    assert base.translate("model.latents.points=3") == "model.latents.points=3"
    config.write_text("noise: 3\n")
    assert base.translate("model.latents.points=3") == "model.noise.points=3"
    assert base.translate("model=gbdm") == "model=gbdm"
    run = WORLDS["weather"][0]
    assert base.lacks(run._replace(options=("model=gbdm", "batch=8"))) == ""
    assert base.lacks(run._replace(options=("model=gbdm", "path=linear"))) == "path=linear"
