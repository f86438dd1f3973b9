import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from vgbdm.training.memory import live_bytes


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
