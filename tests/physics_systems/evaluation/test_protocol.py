"""The fair protocol: what each row forecasts from, and from when on."""

import pytest
import torch
from system_fields import SYSTEMS, make_field, smooth

from physics_systems.data.trajectories import Trajectories
from physics_systems.evaluation import protocol
from vgbdm.inference.refinement import means_of, posterior_of
from vgbdm.latents.members import Members

WINDOW = 10


def test_forecasts_of_means_go_on_from_the_last_frame_of_the_context():
    data = smooth("rlc")
    field = make_field("rlc", shake=0.1, data=data)
    field.refinement = None
    whole, theta = protocol.forecast_means(field, data)
    parts, thetas = protocol.forecast_means(field, data, batch=5)
    assert torch.allclose(whole, parts, rtol=1e-3, atol=1e-4)
    assert torch.allclose(theta, thetas, rtol=1e-3)
    x, t = data.x[:, :WINDOW], data.t
    latents = means_of(field, x, t[:, :WINDOW])
    states = field.simulate(x[:, -1], x, t[:, WINDOW - 1 :], latents)
    assert torch.allclose(whole, states, rtol=1e-4, atol=1e-5)
    assert torch.equal(theta, field.physical(latents))
    assert whole.shape == data.x[:, WINDOW:].shape


def test_members_are_draws_of_the_posterior_keyed_by_member_and_row():
    long = smooth("rlc", 5)
    data = Trajectories(long.x[:, : WINDOW + 4], long.t[:, : WINDOW + 4])
    field = make_field("rlc", shake=0.1, data=data)
    made = protocol.forecast_ensemble(field, data, 3, 7)
    x, t = data.x[:, :WINDOW], data.t
    posterior = posterior_of(field, x, t[:, :WINDOW])
    assert made.members.shape == (3, *made.mean.shape) and made.theta_draws.shape == (3, 5, 2)
    for member in range(3):
        numbers = range(member, member + 1)
        latents = Members(field.latent_sizes, 7, torch.arange(5), numbers).draw(posterior)
        assert torch.allclose(made.theta_draws[member], field.physical(latents))
        exact = field.forecast(x, t, latents)
        assert torch.allclose(made.members[member], exact, rtol=1e-3, atol=1e-4)
    assert torch.allclose(made.mean, protocol.forecast_means(field, data)[0], rtol=1e-4, atol=1e-5)
    black = make_field("rlc", grey=False, data=data)
    bare = protocol.forecast_ensemble(black, data, 2, 7)
    assert bare.theta is None and bare.theta_draws is None and len(bare.members) == 2


@pytest.mark.parametrize("name", SYSTEMS)
def test_forecasts_begin_at_the_last_frame_of_the_context(name):
    data, field = smooth(name, 3), make_field(name)
    last, size = field.window - 1, field.size
    start = protocol.begin_states(field, data)
    assert torch.allclose(start[:, :size], data.x[:, last])
    cut = Trajectories(data.x[:, : last + 1], data.t[:, : last + 1])
    assert torch.equal(start, protocol.begin_states(field, cut))
