"""Training in phases: what each trains, what it leaves alone, and how a field begins."""

import pytest
import torch
from weather import (
    GRIDS,
    VALUES,
    Batch,
    make_latents,
    make_model,
    shake,
    states,
)

from climate.training.phased import Phase, Phased
from vgbdm.objectives.places import LastInterval
from vgbdm.paths.linear import LinearPath

AHEAD = 2
ALONE = ("latents.", "trunk.drawn.")


def make(latents=True):
    return make_model(GRIDS["coarse"], latents=make_latents() if latents else None)


def objective(ahead=AHEAD):
    return Phased(LinearPath(), LastInterval(0), 0, ahead, 2, True)


def values(phase, **more):
    return VALUES | {"phase": float(phase), "horizon": float(AHEAD)} | more


def batch(model, ahead=AHEAD):
    return Batch(states(model, frames=model.history + 1 + ahead))


def terms(model, phase, ahead=AHEAD):
    return objective(ahead)(model, batch(model, ahead), values(phase))


def moved(model, phase):
    """Names of parameters whose gradient is not zero; all have one."""
    terms(model, phase)["loss"].mean().backward()
    assert all(p.grad is not None for p in model.parameters())
    return {name for name, p in model.named_parameters() if bool(p.grad.any())}


def test_each_phase_trains_what_it_uses_and_gives_every_parameter_a_gradient():
    names = {name for name, _ in make().named_parameters()}
    for phase in Phase:
        model = make()
        shake(model)
        still = names - moved(model, phase)
        if phase is Phase.DETERMINISTIC:
            assert still == {name for name in names if name.startswith(ALONE)}
        elif phase is Phase.LATENTS:
            assert still == set()
        else:
            still = {name for name in still if not name.startswith("latents.posterior.")}
            assert still == set()


def test_the_first_phase_is_the_training_of_the_model_without_latents():
    alone, drawn = make(latents=False), make()
    drawn.load_state_dict({**drawn.state_dict(), **alone.state_dict()})
    a, b = terms(alone, 0), terms(drawn, 0)
    assert a.keys() == b.keys()
    for name, term in a.items():
        assert torch.equal(term, b[name]), name
    a["loss"].mean().backward()
    b["loss"].mean().backward()
    own = dict(drawn.named_parameters())
    for name, p in alone.named_parameters():
        assert torch.equal(p.grad, own[name].grad), name


def test_draws_are_scored_as_beside_matching_and_nothing_else_is():
    model = make()
    shake(model)
    beside, alone = terms(model, Phase.LATENTS), terms(model, Phase.DRAWS)
    assert set(alone) == {"loss", "crps", "prior"}
    assert torch.equal(alone["crps"], beside["crps"])
    want = VALUES["crps"] * alone["crps"] + VALUES["prior"] * alone["prior"]
    assert torch.allclose(alone["loss"], want)


def test_phases_after_the_first_may_have_less_noise():
    model, quiet = make(), Phased(LinearPath(), LastInterval(0), 0, 1, 2, later_noise=0.0)
    shake(model)
    for phase in (Phase.DETERMINISTIC, Phase.LATENTS, Phase.DRAWS):
        loud, still = (
            objective(1)(model, batch(model, 1), values(phase, noise=size))["loss"]
            for size in (0.05, 0.0)
        )
        made = quiet(model, batch(model, 1), values(phase, noise=0.05))["loss"]
        assert torch.equal(made, loud if phase is Phase.DETERMINISTIC else still)
        assert not torch.equal(loud, still)


def test_of_longer_windows_the_last_interval_is_matched_after_its_own_history():
    model = make()
    shake(model)
    window = states(model, frames=model.history + 3)
    both = {}
    for name, part in {"whole": window, "last": window[:, 1:]}.items():
        part = Batch(part)
        part.times = part.times + (name == "last") * model.step_seconds
        both[name] = objective()(model, part, values(1, crps=0.0))
    for name, term in both["whole"].items():
        assert torch.allclose(term, both["last"][name], rtol=1e-5, atol=1e-7), name


@pytest.mark.parametrize("phase", list(Phase))
def test_a_phase_does_not_depend_on_the_batch(phase):
    model = make()
    shake(model)
    whole = Batch(torch.cat((states(model, frames=6), states(model, frames=6) * 1.01)))
    made = objective()(model, whole, values(phase))
    for k in range(4):
        one = Batch(whole.states[k : k + 1], whole.ids[k : k + 1])
        for name, term in objective()(model, one, values(phase)).items():
            assert torch.allclose(term, made[name][k : k + 1], rtol=1e-4, atol=1e-6), name


def test_latents_say_nothing_at_first_and_forecasts_are_those_without_them():
    alone, drawn = make(latents=False), make()
    shake(alone)
    drawn.load_state_dict({**drawn.state_dict(), **alone.state_dict()})
    past = states(alone, frames=alone.history + 1)
    times = torch.tensor([0, 21600])
    assert torch.equal(alone.forecast(past, times, 3), drawn.forecast(past, times, 3))


def test_weights_of_before_come_to_their_own_layer():
    model = make()
    shake(model)
    held = model.state_dict()
    joined = dict(held)
    own = joined.pop("trunk.drawn.conv.weight")
    joined["trunk.embed.conv.weight"] = torch.cat((held["trunk.embed.conv.weight"], own), 1)
    renewed = model.renewed_weights(joined)
    assert renewed.keys() == held.keys()
    assert all(torch.equal(renewed[name], value) for name, value in held.items())
    assert all(model.renewed_weights(held)[name] is value for name, value in held.items())
