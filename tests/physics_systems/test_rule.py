"""Rows of a table are given alike: inputs, features, network, rate and trials, with controls."""

import functools
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from runs import CONFIGS

from physics_systems.training import build_field, count
from vgbdm.fields.latent_field import FieldStatistics
from vgbdm.registry.build import build

REPO = Path(__file__).resolve().parents[2]
sys.path.append(str(REPO / "benchmarks"))

from systems_rule import BLACK_BOX, GREY, entries, unequal, uneven  # noqa: E402
from systems_trials import TRIALS  # noqa: E402

SYSTEMS = sorted(path.stem for path in Path(CONFIGS, "system").glob("*.yaml"))
ROWS = ("vgbdm", "physvae", "aphynity", "blackbox", "node")
INPUTS = {"preset": (), "state": ("system.presets.residual_inputs=state",)}


def composed(system, row, inputs, *options):
    told = [f"system={system}", f"objective={row}", "data.train=a", "data.val=b", *options]
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        return compose("train_system", [*told, *INPUTS[inputs]])


@functools.cache
def resolved(*given):
    """What a launcher would train with; not to be changed."""
    return OmegaConf.to_container(composed(*given), resolve=True)


def network_size(cfg):
    system = build(cfg["system"])
    whole, seen = [0.0] * len(system.components) * system.order, [1.0] * len(system.components)
    facts = FieldStatistics(whole, whole, seen, 0.1)
    return count(build_field(system, facts, cfg["model"], build(cfg["path"])).network)


@pytest.mark.parametrize("inputs", INPUTS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_rows_differ_in_nothing_but_what_is_compared(system, inputs):
    rows = {row: resolved(system, row, inputs) for row in ROWS}
    assert unequal(rows) == []
    for row in rows.values():
        seen = row["system"]["presets"]["residual_inputs"] if row["model"]["grey"] else "state"
        assert row["model"]["residual_inputs"] == seen
    if inputs == "state":
        assert {row["model"]["residual_inputs"] for row in rows.values()} == {"state"}
    sizes = {row: network_size(cfg) for row, cfg in rows.items()}
    assert sizes["physvae"] == sizes["aphynity"] == sizes["vgbdm"]
    for row in ("blackbox", "node"):
        assert sizes[row] == pytest.approx(sizes["vgbdm"], rel=0.05)


def test_every_exception_is_one_and_has_its_reason():
    """A key that no row makes use of would only hide a difference to come."""
    used, first = set(), entries(resolved("reaction_diffusion", "vgbdm", "preset"))
    for row in ROWS[1:]:
        other = entries(resolved("reaction_diffusion", row, "preset"))
        used |= {key for key in {*first, *other} if first.get(key) != other.get(key)}
    for name, reason in BLACK_BOX.items():
        assert reason and any(key == name or key.startswith(f"{name}.") for key in used), name
    assert set(GREY) < set(BLACK_BOX)


MORE = {
    "inputs": ("physvae", ["model.residual_inputs=[I]"], "model.residual_inputs"),
    "more features": ("aphynity", ["model.features=256"], "model.features"),
    "a wider encoder": ("node", ["system.presets.encoder.width=300"], "model.encoder.width"),
    "a larger network": ("vgbdm", ["system.presets.network.width=200"], "model.network.width"),
    "another rate": ("blackbox", ["rate.peak=1e-3"], "rate.peak"),
    "steps": ("vgbdm", ["trainer.total_steps=4000"], "trainer.total_steps"),
    "seconds": ("vgbdm", ["trainer.max_minutes=2"], "trainer.max_minutes"),
    "another weight decay": ("physvae", ["weight_decay=0"], "weight_decay"),
    "clipping": ("node", ["backend.clip=0.1"], "backend.clip"),
    "a finer solver": ("aphynity", ["model.solver.substeps=4"], "model.solver.substeps"),
    "more refinement": ("vgbdm", ["model.refinement.steps=9"], "model.refinement.steps"),
    "no refinement": ("aphynity", ["model.refinement=null"], "model.refinement.steps"),
    "no regression": ("physvae", ["model.regression=null"], "model.regression.ridges"),
    "validation": ("vgbdm", ["validation.limit=9"], "validation.limit"),
    "looks": ("vgbdm", ["trainer.validations=60"], "trainer.validations"),
    "latents": ("vgbdm", ["model.latents=20"], "model.latents"),
    "another path": ("node", ["path=linear"], "path._target_"),
}  # fmt: skip


@pytest.mark.parametrize("what", MORE)
def test_a_row_that_is_given_more_breaks_the_rule(what):
    favoured, options, key = MORE[what]
    rows = {row: resolved("rlc", row, "state") for row in ROWS}
    assert unequal(rows) == []
    rows[favoured] = resolved("rlc", favoured, "state", *options)
    said = unequal(rows)
    assert said and any(line.startswith(f"{key}: ") for line in said), said
    others = {favoured} if favoured != "vgbdm" else {*ROWS} - {"vgbdm"}
    assert all(any(f" in {name}, " in line for name in others) for line in said), said


def test_a_black_box_with_a_larger_network_is_seen():
    for system, options in (
        ("rlc", ["system.presets.black_box_network.width=150"]),
        ("reaction_diffusion", ["system.presets.black_box_network.width=16"]),
    ):
        grey, larger = (
            network_size(resolved(system, row, "state", *given))
            for row, given in (("vgbdm", ()), ("node", options))
        )
        assert larger > 1.05 * grey


def test_every_row_has_as_many_trials_which_compose():
    assert set(TRIALS) == set(ROWS) and uneven(TRIALS) == []
    for row, trials in TRIALS.items():
        assert trials[0] == []
        for system in ("lorenz", "reaction_diffusion"):  # they have presets of their own
            told = [entries(resolved(system, row, "preset", *options)) for options in trials]
            assert all(one != told[0] for one in told[1:]), (system, row)


@pytest.mark.parametrize(
    ("row", "trials", "said"),
    [
        ("vgbdm", [*TRIALS["vgbdm"], ["rate.peak=1e-2"]], "4 trials; want as many as others, 5"),
        ("node", TRIALS["node"][:2], "2 trials"),
        ("node", [*TRIALS["node"][:3], ["model.features=256"]], "model.features is not tuned"),
        ("node", [*TRIALS["node"][:3], TRIALS["node"][1]], "twice"),
    ],
)
def test_a_row_that_is_tuned_more_breaks_the_rule(row, trials, said):
    assert any(said in line for line in uneven(TRIALS | {row: trials}))
