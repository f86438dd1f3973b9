"""Bytes by formula and as counted."""

from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from vgbdm.training.backends.deepspeed import WHOLE_BELOW, bucket_of
from vgbdm.training.backends.learner import without_weights
from vgbdm.training.memory import (
    checkpoint_bytes,
    free_bytes,
    in_words,
    live_bytes,
    saved_bytes,
    state_bytes,
)


def test_live_tensors_are_counted_once_and_fake_ones_not():
    """torch.compile leaves fake tensors behind, whose storage has no address."""
    before = live_bytes()
    ours = torch.zeros(1000)
    view, weight = ours[10:], torch.nn.Parameter(torch.zeros(500))
    weight.grad = torch.zeros(500)
    with FakeTensorMode():
        fake = torch.zeros(10**6)
    torch._C._set_throw_on_mutable_data_ptr(fake)  # as torch.compile does
    assert live_bytes() - before == 4 * (1000 + 500 + 500)
    del view, fake


@pytest.mark.parametrize("ema", [False, True])
def test_state_is_counted_by_layout(ema):
    """Weights, gradients and two moments of float32; ZeRO keeps four numbers in n parts."""
    sizes, extra = {"large": 10**6, "small": WHOLE_BELOW - 1, "kept": WHOLE_BELOW}, int(ema)
    count = 10**6 + 2 * WHOLE_BELOW - 1
    for layout in ("single", "ddp", "zero0"):
        assert state_bytes(sizes, layout, 3, ema) == 4 * (4 + extra) * count
    part = -(-(4 + extra) * count // 3)
    for layout in ("zero1", "zero2"):
        assert state_bytes(sizes, layout, 3, ema) == 4 * (count + part)
    assert state_bytes(sizes, "zero3", 3, ema) == 4 * (WHOLE_BELOW - 1 + bucket_of(count) + part)


def test_what_a_forward_pass_keeps_is_its_input_and_its_answer():
    layer, x = torch.nn.Linear(10, 5), torch.zeros(8, 10)
    assert saved_bytes(layer, lambda: layer(x).tanh()) == 4 * (8 * 10 + 8 * 5)


def test_a_checkpoint_holds_weights_moments_and_means():
    shapes = {"a": torch.Size((3, 4)), "b": torch.Size((5,))}
    plain, averaged = (SimpleNamespace(shapes=shapes, ema=ema) for ema in (None, 0.9))
    assert checkpoint_bytes(plain) == 4 * 17 * 3 and checkpoint_bytes(averaged) == 4 * 17 * 4


def test_ranks_of_a_machine_share_its_memory(monkeypatch):
    backend = SimpleNamespace(device=torch.device("cpu"))
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1003))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert free_bytes(backend) == 1003
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert free_bytes(backend) == 250


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (1023, "1.02e+03 B"), (1024, "1 KiB"), (1.5 * 2**20, "1.5 MiB"),
     (3 * 2**30, "3 GiB"), (2**40, "1 TiB"), (2.5 * 2**50, "2.56e+03 TiB")],
)  # fmt: skip
def test_bytes_in_words(count, words):
    assert in_words(count) == words


def test_the_copy_without_weights_has_the_same_tables():
    """They may take 0.7 GiB; what the state holds is its own."""
    field = torch.nn.Linear(3, 4)
    field.register_buffer("table", torch.ones(5), persistent=False)
    field.register_buffer("held", torch.ones(5))
    copied = without_weights(field)
    assert copied.table is field.table
    assert copied.held is not field.held and torch.equal(copied.held, field.held)
    assert copied.weight.numel() == 0 and field.weight.numel() == 12
