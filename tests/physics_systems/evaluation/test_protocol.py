"""The fair protocol: what each row forecasts from, and from when on."""

import pytest
import torch
from systems import SYSTEMS, make_field, smooth

from physics_systems.data.trajectories import Trajectories
from physics_systems.evaluation import protocol
from vgbdm.inference.refinement import means_of, posterior_of
from vgbdm.latents.members import Members
from vgbdm.paths.derivatives import derivatives
from vgbdm.paths.hermite import HermitePath

WINDOW, PATH = 10, HermitePath(5)


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


@pytest.mark.parametrize("name", ["pendulum", "reaction_diffusion"])
def test_trivial_rows_are_the_last_frame_and_the_mean(name):
    data = smooth(name, 3)
    last = protocol.persistence(data, 4)
    mean = protocol.training_mean(data, 4, torch.arange(data.x.shape[2]) + 0.5)
    assert last.shape == mean.shape == data.x[:, 4:].shape
    assert torch.equal(last[:, -1], data.x[:, 3]) and torch.equal(last[:, 0], data.x[:, 3])
    assert mean.dtype == torch.float32
    for component in range(data.x.shape[2]):
        assert (mean[:, :, component] == component + 0.5).all()


def test_the_sanity_rows_differ_by_what_the_physics_lacks():
    """A pendulum from the context's own velocity: with friction it slows, without it does not."""
    system, whole = SYSTEMS["pendulum"], smooth("pendulum", 3)
    data = Trajectories(whole.x[:, : WINDOW + 3], whole.t[:, : WINDOW + 3])
    truth = {
        "omega": torch.tensor([1.0, 2.0, 3.0]).double(),
        "gamma": torch.tensor([0.2, 0.7, 1.1]).double(),
    }
    full = protocol.oracle(system, data, WINDOW, PATH, truth)
    known = protocol.physics_only(system, data, WINDOW, PATH, truth)
    still = protocol.oracle(system, data, WINDOW, PATH, truth | {"gamma": 0 * truth["gamma"]})
    assert torch.allclose(known, still, atol=1e-6) and not torch.allclose(known, full, atol=1e-2)
    frames, times = data.x[:, 5:WINDOW].double(), data.t[:, 5:WINDOW]
    velocity = derivatives(frames, times, 5)[0][:, -1]
    gap = (data.t[:, WINDOW] - data.t[:, WINDOW - 1])[:, None]
    bend = -(truth["omega"][:, None] ** 2) * torch.sin(frames[:, -1])
    taylor = frames[:, -1] + gap * velocity + gap**2 / 2 * bend
    assert torch.allclose(known[:, 0].double(), taylor, atol=float(gap.max()) ** 3 * 40)


def test_sanity_rows_begin_at_the_last_frame_of_the_context_and_its_time(monkeypatch):
    data, asked = smooth("pendulum", 3), []

    def integrate(dynamics, start, times, parameters, label):
        asked.append((start, times))
        return start[:, None].expand(-1, times.shape[1], -1)

    monkeypatch.setattr(protocol, "solve_system", integrate)
    made = protocol.oracle(SYSTEMS["pendulum"], data, WINDOW, PATH, {})
    (start, times), context = asked[0], data.x[:, 5:WINDOW].double()
    velocity = derivatives(context, data.t[:, 5:WINDOW], 5)[0][:, -1]
    assert torch.allclose(start, torch.cat((context[:, -1], velocity), 1), rtol=1e-9)
    assert torch.equal(times, data.t[:, WINDOW - 1 :])
    assert made.shape == data.x[:, WINDOW:].shape and made.dtype == torch.float32
    circuit = smooth("rlc", 3)
    protocol.physics_only(SYSTEMS["rlc"], circuit, WINDOW, PATH, {})
    assert torch.equal(asked[1][0], circuit.x[:, WINDOW - 1].double())
    assert torch.equal(asked[1][1], circuit.t[:, WINDOW - 1 :])
