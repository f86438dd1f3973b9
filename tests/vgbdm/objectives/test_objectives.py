"""Every objective: per-sample terms, gradients everywhere, independence of batch and rank."""

import pytest
import torch
from system_fields import SYSTEMS, batch_of, make_field, trajectories

from vgbdm.errors import InputError
from vgbdm.objectives.aphynity import Aphynity
from vgbdm.objectives.gauge import gauge
from vgbdm.objectives.matching import Matching
from vgbdm.objectives.physvae import PhysVAE
from vgbdm.objectives.places import WindowSampler
from vgbdm.objectives.rollouts import RolloutMatching
from vgbdm.paths.bridge import BridgePath
from vgbdm.paths.hermite import HermitePath
from vgbdm.paths.linear import LinearPath

VALUES = {
    "beta_theta": 1e-3, "beta_zeta": 1e-3, "gauge": 1e-2, "physics": 1.0, "multiplier": 2.0,
    "balance": 0.1, "unmixing": 0.1, "self_supervision": 0.1,
}  # fmt: skip


def make(kind, path=None):
    path = path or HermitePath()
    if kind in ("vgbdm", "blackbox"):
        return Matching(path, WindowSampler(3, "trajectory", 1), 1)
    return {"node": RolloutMatching, "aphynity": Aphynity, "physvae": PhysVAE}[kind](8, 1, path)


def field_for(kind, name, **options):
    return make_field(
        name, grey=kind not in ("blackbox", "node"), unmixing=kind == "physvae", **options
    )


KINDS = ["vgbdm", "blackbox", "node", "aphynity", "physvae"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SYSTEMS)
def test_every_parameter_gets_a_gradient_after_three_steps(kind, name):
    field, objective, path = field_for(kind, name), make(kind), HermitePath()
    data = trajectories(name)
    optimizer = torch.optim.Adam(field.parameters(), lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        terms = objective(field, batch_of(data, path, range(4)), VALUES)
        assert all(term.shape == (4,) for term in terms.values())
        terms["loss"].mean().backward()
        optimizer.step()
    without = [n for n, p in field.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_gives_the_same_terms_in_any_batch(kind):
    field, objective, path = field_for(kind, "lorenz", shake=0.1), make(kind), HermitePath()
    data = trajectories("lorenz")
    whole = objective(field, batch_of(data, path), VALUES)
    part = objective(field, batch_of(data, path, [5, 7]), VALUES)
    for name, term in part.items():
        assert torch.allclose(term, whole[name][[5, 7]], rtol=1e-4, atol=1e-6), name


@pytest.mark.parametrize("kind", ["vgbdm", "aphynity"])
@pytest.mark.parametrize("inputs", ["state", "everything"])
def test_other_inputs_and_encoders_work_too(kind, inputs):
    field = field_for(kind, "rlc", inputs=inputs, encoder="gru", shake=0.1)
    terms = make(kind)(field, batch_of(trajectories("rlc"), HermitePath()), VALUES)
    assert terms["loss"].isfinite().all()


def test_the_true_field_has_next_to_no_matching_loss():
    """With the true θ and nothing missing, the path's error is all that is left."""
    from dataclasses import replace

    system = SYSTEMS["lorenz"]
    field, data = make_field("lorenz"), trajectories("lorenz", 40)
    whole = replace(system)
    true = {n: torch.as_tensor(v) for n, v in (("sigma", 10.0), ("rho", 28.0), ("beta", 2.7))}

    def known(x, t, theta):
        return system.full(x, t, {n: v.to(x).expand(len(x)) for n, v in true.items()})

    whole.known = known
    field.physics = whole
    near = make("vgbdm")(field, batch_of(data, HermitePath()), VALUES)["matching"]
    rough = make("vgbdm", LinearPath())(field, batch_of(data, LinearPath()), VALUES)["matching"]
    # parameters vary by a few percent between trajectories, which bounds it from below
    assert near.mean().item() < 2e-3
    assert rough.mean().item() > 3 * near.mean().item()


def test_bridge_noise_is_keyed_by_sample():
    field, path = make_field("rlc", shake=0.1), BridgePath()
    objective, data = make("vgbdm", path), trajectories("rlc")
    whole = objective(field, batch_of(data, path), VALUES)["matching"]
    part = objective(field, batch_of(data, path, [3]), VALUES)["matching"]
    assert torch.allclose(part, whole[3:4], rtol=1e-4)


def test_second_order_matching_is_about_the_acceleration_alone():
    field, data = make_field("pendulum"), trajectories("pendulum")
    path = HermitePath()
    difference = torch.tensor([[5.0, 2.0]])
    assert torch.allclose(field.rate_units(difference), torch.tensor([[2.0]]) / field.rate)
    nodes = path.nodes(data.x, data.t)
    length = data.t[:, 6] - data.t[:, 5]
    point = path(nodes[:, 5], nodes[:, 6], length, torch.full_like(length, 0.5))
    state, rate = field.at(point)
    assert torch.equal(state[:, 1:], rate[:, :1])
    assert torch.equal(rate[:, 1:], point.acceleration)


def test_windows_half_at_the_start_and_intervals_where_they_belong():
    data = trajectories("lorenz")
    ids = torch.arange(4000)
    frames, window = data.x.shape[1], 10
    for kind in ("trajectory", "window", "after"):
        places = WindowSampler(4, kind, 0)(ids, frames, window, 1)
        assert 0.5 < float((places.start == 0).double().mean()) < 0.6
        assert places.start.max() <= frames - window - (kind == "after")
        assert places.s.min() >= 0 and places.s.max() <= 1
        low, high = places.interval.min(), places.interval.max()
        assert low >= 0 and high <= frames - 2
        inside = (places.interval >= places.start[:, None]) & (
            places.interval < places.start[:, None] + window - 1
        )
        if kind == "window":
            assert inside.all()
        elif kind == "after":
            assert (places.interval >= places.start[:, None] + window - 1).all()
        else:
            assert low == 0 and high == frames - 2
    deep = WindowSampler(4, "trajectory", 0)(ids, frames, window, 3)
    assert deep.interval.min() == 2


def test_bad_sampling_is_refused():
    for options in ((0, "window"), (2, "before")):
        with pytest.raises(InputError, match="sampling"):
            WindowSampler(*options, 0)


def test_the_gauge_is_smooth_at_zero_and_an_rms_far_from_it():
    squares = torch.zeros(1, 2, requires_grad=True)
    gauge(squares).sum().backward()
    assert squares.grad.isfinite().all()
    assert float(gauge(torch.tensor([[4.0, 9.0]]))) == pytest.approx(5.0, rel=1e-3)


def test_a_drawn_parameter_that_overflows_the_solver_teaches_nothing():
    """An inductance near 0 is too stiff for a step of Δ: no term, and a finite gradient."""
    field, objective = field_for("physvae", "rlc"), make("physvae")
    batch = batch_of(trajectories("rlc"), HermitePath())
    assert (objective(field, batch, VALUES)["self_supervision"] > 0).all()
    field.prior.mean[0], field.prior.std[0], field.prior.softness[0] = 1e-4, 1e-6, 1e-5
    stiff = objective(field, batch, VALUES)["self_supervision"]
    assert (stiff == 0).all()
    stiff.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in field.parameters())
