"""Backends in one process: the launcher's choice, averaged weights, recomputing, refusals."""

import copy
import sys
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch
from parity_worker import Batch, Objective, Toy
from refusals import refused

from vgbdm.errors import InputError
from vgbdm.networks import Blocks
from vgbdm.options.backends import check_backend
from vgbdm.randomness import checksum
from vgbdm.training.backends.base import COLLECTIVE_TIMEOUT
from vgbdm.training.backends.choice import backend_class
from vgbdm.training.backends.deepspeed import DeepSpeedBackend, bucket_of, zero_config
from vgbdm.training.backends.learner import Learner, weighted_sums
from vgbdm.training.backends.rendezvous import INIT_METHOD
from vgbdm.training.backends.steps import ParameterGroup
from vgbdm.training.backends.torch import DDPBackend, SingleBackend
from vgbdm.training.shares import Share
from vgbdm.training.transfer import arrive

PLAIN = {"precision": "fp32", "clip": 1.0, "accumulation": 1}


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        ({}, SingleBackend),
        ({"RANK": "0", "WORLD_SIZE": "1"}, SingleBackend),
        ({"RANK": "0", "WORLD_SIZE": "2"}, DDPBackend),
        ({"WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "none"}, DDPBackend),
        ({"WORLD_SIZE": "1", "CROSS_SIZE": "1", "LOCAL_SIZE": "1"}, DeepSpeedBackend),
    ],
)
def test_the_launcher_chooses(environment, kind):
    assert backend_class(environment) is kind


def test_one_process_among_several_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="use backend=auto"):
        SingleBackend(**PLAIN)


def test_zero_is_told_where_state_lives():
    assert "offload_optimizer" not in zero_config(9, 3, None, None)
    assert all(bucket_of(count) % 2 == 0 for count in (1, 8 * 10**5 + 9, 10**8 + 8, 10**10))
    assert zero_config(9, 1, "cpu", None)["offload_optimizer"] == {"device": "cpu"}
    assert "offload_param" not in zero_config(9, 2, "cpu", None)
    fast = zero_config(9, 3, "nvme", "/fast")
    assert fast["offload_optimizer"] == fast["offload_param"]
    assert fast["offload_param"] == {"device": "nvme", "nvme_path": "/fast"}


@pytest.mark.parametrize(
    "place", [(4, None, None), (0, "cpu", None), (2, "nvme", "/f"), (3, "nvme", None),
              (3, "cpu", "/f"), (3, "tape", None)],
)  # fmt: skip
def test_what_zero_cannot_do_is_refused(place):
    with pytest.raises(InputError, match="backend"):
        zero_config(9, *place)


@pytest.mark.parametrize(
    "backend",
    [
        {}, {"accumulation": 3}, {"stage": 0}, {"stage": 1, "offload": "cpu"}, {"stage": 3},
        {"stage": 3, "offload": "cpu", "nvme_path": None},
        {"stage": 3, "offload": "nvme", "nvme_path": "/fast"},
    ],
)  # fmt: skip
def test_options_that_go_together_are_taken(backend):
    check_backend(backend, batch=6)


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ({"accumulation": 4}, "accumulation=4: want a divisor of batch=6"),
        ({"offload": "cpu"}, "offload=cpu: needs backend.stage=1"),
        ({"stage": 2, "offload": "nvme", "nvme_path": "/fast"}, "needs backend.stage=3"),
        ({"stage": 3, "offload": "nvme"}, "needs backend.nvme_path"),
        ({"stage": 3, "offload": "cpu", "nvme_path": "/fast"}, "does nothing without"),
    ],
)
def test_options_that_do_not_are_refused_before_data_are_opened(backend, words):
    refused(lambda: check_backend(backend, batch=6), words)


@pytest.mark.parametrize(
    "wrong",
    [{"ema": 1.0}, {"ema": 0.0}, {"precision": "fp16"}, {"validation_precision": "half"},
     {"compile": "fast"}],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(wrong):
    with pytest.raises(InputError, match="backend"):
        SingleBackend(**PLAIN | wrong)


def arrived(batch):
    return arrive(batch, torch.device("cpu"))


def started(**options):
    """A backend on a toy field, and a step of it."""
    torch.manual_seed(0)
    toy, backend = Toy(), SingleBackend(**PLAIN | options)
    backend.start(toy, Objective(torch.float32), [ParameterGroup([*toy.parameters()], 1, 0)], 8)

    def step(k: int):
        ids = torch.arange(8 * k, 8 * k + 8)
        return backend.step(arrived(Batch(ids, ids, torch.ones(8))), {}, 0.01)

    return toy, backend, step


@pytest.mark.parametrize("ranks", [2, 3, 5, 9])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_gradients_of_uneven_shares_are_those_of_one_rank(ranks, accumulation):
    torch.manual_seed(0)
    toy, batch = Toy().double(), 7
    learner = Learner(toy, Objective(torch.float64), "fp32")

    def gradient(shares):
        toy.zero_grad()
        for share in shares:
            ids = torch.from_numpy(share.places)
            own = Batch(ids, ids, torch.from_numpy(share.weights))
            (weighted_sums(learner, own, {})["loss"] / batch).backward()
        return torch.cat([p.grad.flatten() for p in toy.parameters()])

    one = gradient([Share.of(batch, 1)])
    more = gradient(Share.of(batch, 1, rank, ranks, accumulation) for rank in range(ranks))
    assert torch.allclose(more, one, rtol=1e-12, atol=1e-15)


def test_more_micro_batches_than_samples_of_a_rank_are_refused():
    with pytest.raises(InputError, match="accumulation=9: a rank has 8 of a batch of 8"):
        started(accumulation=9)


def test_the_host_reads_the_device_once_a_step(monkeypatch):
    _, _, plain = started()
    _, backend, step = started(accumulation=2, ema=0.9)
    reads = []

    def read(vector):
        reads.append(len(vector))
        return vector.tolist()

    monkeypatch.setattr("vgbdm.training.backends.base.to_numbers", read)
    plain(0)
    step(0)
    backend.step(
        arrived(Batch(*(torch.arange(8),) * 2, torch.ones(8))), {}, 0.01, (), lambda terms: False
    )
    assert reads == [6, 6, 6]  # loss, two wishes, samples, calls, norm


def test_the_host_is_free_before_it_reads(monkeypatch):
    _, backend, _ = started()
    order = []
    monkeypatch.setattr(
        "vgbdm.training.backends.base.to_numbers", lambda v: order.append("read") or v.tolist()
    )
    batch = arrived(Batch(*(torch.arange(8),) * 2, torch.ones(8)))
    backend.step(batch, {}, 0.01, meanwhile=lambda: order.append("meanwhile"))
    assert order == ["meanwhile", "read"]


def test_graphs_are_refused_where_there_are_none():
    with pytest.raises(InputError, match="has no CUDA graphs"):
        started(compile="graphs")


def test_averaged_weights_are_what_they_say_and_what_validation_sees():
    toy, backend, step = started(ema=0.5)
    mean = toy.gain.detach().double().clone()
    for k in range(12):
        step(k)
        decay = min(0.5, (2 + k) / (11 + k))
        mean = decay * mean + (1 - decay) * toy.gain.detach()
    state = backend.state().tensors
    assert torch.allclose(state["ema"]["gain"].double(), mean, rtol=1e-6)
    assert not torch.allclose(state["model"]["gain"].double(), mean, rtol=1e-3)
    assert state["ema"].keys() == dict(toy.named_parameters()).keys()
    assert torch.equal(backend.whole_field().gain.data, state["ema"]["gain"])
    assert torch.equal(toy.gain.data, state["model"]["gain"])


def test_averaged_weights_go_on_where_they_were():
    _, whole, step = started(ema=0.9)
    for k in range(3):
        step(k)
    kept = copy.deepcopy(whole.state().tensors)
    step(3)
    toy, again, step_again = started(ema=0.9)
    toy.load_state_dict(kept["model"])
    again.load_moments(kept, 3)
    step_again(3)
    for name, values in whole.state().tensors.items():
        ours = again.state().tensors[name]
        assert all(torch.equal(ours[key], values[key]) for key in values), name


def test_a_state_is_of_its_time_and_the_next_takes_its_memory():
    """A save must not cost new memory each time, nor show weights that moved on since."""
    toy, backend, step = started(ema=0.9)
    first = backend.state().tensors
    assert not any(values.any() for values in first["exp_avg"].values())
    step(0)
    assert not torch.equal(first["model"]["gain"], toy.gain)
    places = {n: {k: v.data_ptr() for k, v in file.items()} for n, file in first.items()}
    moved = first["model"]["gain"].clone()
    second = backend.state().tensors
    assert torch.equal(second["model"]["gain"], toy.gain.data)
    assert not torch.equal(second["model"]["gain"], moved)
    assert second["exp_avg"]["gain"].any()
    for name, parameter in toy.named_parameters():
        assert second["model"][name].shape == parameter.shape
        assert all(second[n][name].data_ptr() == places[n][name] for n in places)


def test_without_averages_nothing_is_copied():
    toy, backend, _ = started()
    assert backend.whole_field() is toy
    assert set(backend.state().tensors) == {"model", "exp_avg", "exp_avg_sq"}


def test_recomputing_changes_nothing_but_the_work(monkeypatch):
    calls = []
    original = Blocks._some
    monkeypatch.setattr(Blocks, "_some", lambda self, *a: calls.append(1) or original(self, *a))
    results = {}
    for recompute in (False, True):
        calls.clear()
        toy, _, step = started(recompute=recompute)
        results[recompute] = [step(k) for k in range(3)], toy.gain.detach().clone(), len(calls)
    (plain, weights, count), (again, same, twice) = results[False], results[True]
    assert plain == again and torch.equal(weights, same)
    assert twice == 2 * count


def test_nothing_to_recompute_is_refused():
    field = torch.nn.Linear(2, 1)
    group = ParameterGroup([*field.parameters()], 1, 0)
    with pytest.raises(InputError, match="no blocks to recompute"):
        SingleBackend(**PLAIN, recompute=True).start(field, None, [group], 8)


def test_field_calls_that_differ_between_ranks_are_noticed(monkeypatch):
    _, backend, step = started()
    backend.world_size, backend.global_batch = 2, 16

    def sum_with_other(values):
        values *= 2
        values[-1] += 1
        return values

    monkeypatch.setattr(backend, "sum", sum_with_other)
    with pytest.raises(AssertionError, match="unequally often"):
        step(0)


def test_a_step_tells_which_samples_it_took_without_padding():
    _, backend, step = started()
    ids = torch.arange(8)
    assert step(0).samples == checksum(ids, ids).sum()
    padded = Batch(ids, ids, (ids < 5).float())
    assert backend.step(arrived(padded), {}, 0.01).samples == checksum(ids[:5], ids[:5]).sum()
    swapped = Batch(ids, ids.flip(0), torch.ones(8))
    assert backend.step(arrived(swapped), {}, 0.01).samples != checksum(ids, ids).sum()


def test_ranks_of_deepspeed_wait_for_each_other_as_long_as_those_of_torch(monkeypatch):
    told = {}

    def meet(**options):
        told.update(options)
        raise InputError("they would meet now")

    comm = SimpleNamespace(is_initialized=lambda: False)
    fake = SimpleNamespace(comm=comm, init_distributed=meet)
    monkeypatch.setitem(sys.modules, "deepspeed", fake)
    monkeypatch.setattr("vgbdm.training.backends.deepspeed.leave_out_inference", lambda: None)
    with pytest.raises(InputError, match="would meet"):
        DeepSpeedBackend(**PLAIN)
    assert told.pop("timeout") == COLLECTIVE_TIMEOUT == timedelta(hours=2)
    assert told == {"auto_mpi_discovery": False, "verbose": False, "init_method": INIT_METHOD}
