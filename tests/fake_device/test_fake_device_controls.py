"""The guard of the fake device sees what it is there to see."""

import fake_controls
import fake_weather
import pytest
import torch
from fake_device import REGISTER, TrafficError
from torch.utils import backend_registration


@pytest.mark.parametrize("name", fake_controls.CONTROLS)
def test_what_passes_between_host_and_device_is_seen(fake, name):
    with pytest.raises(TrafficError):
        fake(fake_controls.run, name)


def test_what_stays_on_the_device_is_not(fake):
    fake(fake_controls.run, "fine")


def test_a_buffer_left_on_the_host_is_seen(fake):
    with pytest.raises(TrafficError, match="tensors of both"):
        fake(fake_controls.leave_buffer)


def test_a_batch_that_is_not_moved_is_seen(fake, fine_store):
    with pytest.raises(TrafficError, match="tensors of both"):
        fake(fake_weather.train, str(fine_store.path), moves=False)


def test_this_process_has_no_such_device():
    assert hasattr(backend_registration, REGISTER)
    assert torch._C._get_privateuse1_backend_name() == "privateuseone"
