"""Every config is accepted with each choice of each group, and what makes no sense is refused."""

import copy
import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf, open_dict

from vgbdm.errors import InputError
from vgbdm.options.check import check
from vgbdm.options.option import REQUIRED, options_of
from vgbdm.options.shapes import schema_of

REPO = Path(__file__).resolve().parents[2]
CONFIGS = REPO / "configs"
LAUNCHERS = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
NEEDED = {
    "train_era5": ["store=s", "run_dir=r"],
    "check": ["store=s", "run_dir=r"],
    "train_system": ["data.train=a", "data.val=b"],
    "convert_era5": ["store=s", "source.root=r"],
    "store": ["action=info", "store=s"],
    "simulate_system": ["out=o"],
    "make_sample": ["out=o", "days=3"],
    "forecast_era5": ["run_dir=r", "store=s", "out=o"],
    "evaluate_era5": ["forecast=f", "store=s", "out=o"],
    "evaluate_system": ["runs=r", "data.test=t", "out=o"],
    "compare_forecasts": ["a=a", "b=b", "truth=t", "out=o"],
    "choose_gauge": ["runs=r"],
    "export": ["run_dir=r", "out=o"],
    "import_trajectories": ["file=f", "out=o"],
    "benchmark_data": ["out=o"],
    "benchmark_weather": ["store=s", "out=o"],
    "benchmark_systems": ["preset=smoke", "out=o"],
}
MORE = {
    ("task", "regional"): ["region=Europe"],
    ("finetune", "rollout"): ["init=RUN"],
}


def composed(launcher, *overrides):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(launcher, [*NEEDED[launcher], *overrides])


composed_once = functools.cache(composed)


def changed(launcher, override):
    """The config with an override, without composing it again."""
    (parsed,) = OverridesParser.create().parse_overrides([override])
    config = copy.deepcopy(composed_once(launcher))
    if parsed.is_delete():
        place, _, name = parsed.key_or_group.rpartition(".")
        with open_dict(config):
            del OmegaConf.select(config, place)[name]
    else:
        OmegaConf.update(config, parsed.key_or_group, parsed.value(), force_add=True)
    return config


def accepted(launcher, *overrides):
    check(launcher, composed(launcher, *overrides))


def groups_of(launcher):
    defaults = yaml.safe_load((CONFIGS / f"{launcher}.yaml").read_text()).get("defaults", [])
    return [name for entry in defaults if isinstance(entry, dict) for name in entry]


CHOICES = [
    (launcher, group, path.stem)
    for launcher in LAUNCHERS
    for group in groups_of(launcher)
    for path in sorted((CONFIGS / group).glob("*.yaml"))
]


def test_every_launcher_has_a_schema():
    assert sorted(NEEDED) == LAUNCHERS
    assert all(schema_of(launcher) is not None for launcher in LAUNCHERS)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_configs_are_accepted_as_they_are(launcher):
    accepted(launcher)


@pytest.mark.parametrize(("launcher", "group", "choice"), CHOICES)
def test_every_choice_of_every_group_is_accepted(launcher, group, choice):
    more = MORE.get((group, choice), [])
    if launcher == "store" and group == "source":
        more = ["source.root=r"]
    accepted(launcher, f"{group}={choice}", *more)


COMMANDS = [
    ("train_era5", ["trainer.max_minutes=4"]),
    ("train_era5", ["task=regional", "region=[30,65,350,40]", "size=tiny"]),
    ("train_era5", ["roles.forcing=[sst]", "roles.diagnostic=[tp]"]),
    ("forecast_era5", ["region.boundary=forecasts/global", "leads=42h", "forcing=later"]),
    ("train_era5", ["task=monthly", "validation.lead=3mo", "history=0", "model=vgbdm"]),
    ("train_era5", ["backend.stage=2", "backend.compile=graphs", "backend.ema=0.999"]),
    ("train_era5", ["model=climode", "model.solver.method=dopri5", "trainer.save_minutes=null"]),
    ("train_era5", ["operators=finite_difference", "vectors=[]", "rate.peak=1"]),
    ("train_system", ["model.residual_inputs=everything", "system.presets.gauge=0"]),
    ("train_system", [
        "+model.head={_target_: vgbdm.latents.distributions.GaussianHead, _partial_: true}",
    ]),
    ("convert_era5", ["split=null", "period=[2018-01-05,2018-02-28]", "check=true"]),
    ("convert_era5", ["split.train=[2006-01-01,2006-04-17]", "split.val=[2007-07,2007-12]",
                      "split.test=[2008,2008]", "variables=[u10,v10]"]),
    ("convert_era5", ["source=cf_files", "source.root=r", "step=6h", "region=Europe",
                      "+source.fields.q={name: q, level: 850}", "variables=[q]"]),
    ("convert_era5", ["dask.scheduler=tcp://10.0.0.1:8786", "workers=4", "nan_allowance=0.1"]),
    ("forecast_era5", ["leads=6mo", "members=1", "device=cpu", "institution=us"]),
    ("evaluate_era5", ["run_dir=r", "dress=d", "must_beat=[6,24]"]),
    ("evaluate_era5", ["forecast=[f,g]"]),
    ("simulate_system", ["system.ranges.rho=[29,31]", "system.start_std=1", "noise=0.1"]),
    ("benchmark_weather", ["rows=[gbdm]", "options=['size=tiny']"]),
    ("benchmark_systems", ["preset=laptop", "systems=[rlc,lorenz]", "rows=[vgbdm]", "page=p"]),
]  # fmt: skip


@pytest.mark.parametrize(("launcher", "options"), COMMANDS, ids=str)
def test_commands_of_the_documents_are_accepted(launcher, options):
    accepted(launcher, *options)


REFUSED = [
    ("check", "store=null", r"^argument store=… is missing; .* give check\.grid=…$"),
    ("check", "check.grid=1.5", r"^store=s: a plan with check\.grid=1\.5 reads and writes nothing"),
    ("check", "check.grid=7", r"^check\.grid=7: want degrees that divide 90, such as"),
    ("train_era5", "batch=0", r"^batch=0: want a whole number ≥ 1, < 2\^31$"),
    ("train_era5", "batch=null", r"^batch=null: want a whole number ≥ 1, < 2\^31$"),
    ("train_era5", "batch=x", r"^batch=x: want a whole number ≥ 1, < 2\^31$"),
    ("train_era5", "batch=true", r"^batch=true: want a whole number ≥ 1, < 2\^31$"),
    ("train_era5", "history=-1", r"^history=-1: want a whole number 0 … 65536$"),
    ("train_era5", "size.heads=3", r"^size\.heads=3: want a divisor of size\.history_width=32$"),
    ("train_era5", "stream.lanes=0", r"^stream\.lanes=0: want a whole number ≥ 1, < 2\^31$"),
    ("train_era5", "stream.lanes=5", r"^stream\.lanes=5: want a divisor of batch=16$"),
    ("train_era5", "rate.peak=nan", r"^rate\.peak=nan: want a number > 0$"),
    ("train_era5", "rate.peak=inf", r"^rate\.peak=inf: want a number > 0$"),
    ("train_era5", "optimizer.weight_decay=nan", r"^optimizer\.weight_decay=nan: want a number"),
    ("train_era5", "backend.clip=nan", r"^backend\.clip=nan: want a number ≥ 0$"),
    ("train_era5", "backend.compile=graph", r"want one of false, true, graphs; did you mean gr"),
    ("train_era5", "resume=maybe", r"^resume=maybe: want true or false$"),
    ("train_era5", "seed=1.5", r"^seed=1\.5: want a whole number ≥ 0, < 2\^63$"),
    ("train_era5", "stream.memory_gib=nan", r"^stream\.memory_gib=nan: want a number > 0 \(GiB\)$"),
    ("train_era5", "stream.threads=nan", r"^stream\.threads=nan: want a whole number 1 … 1024$"),
    ("train_era5", "trainer.hang_minutes=120", r"^trainer\.hang_minutes=120: want a number ≥ 0\.1"),
    ("train_era5", "run_dir=2024", r"as text it is written '\"2024\"'$"),
    ("train_era5", "store=''", r"^store=: want text that is not empty$"),
    ("train_era5", "stream=3", r"^stream=3: want its options, as stream\.NAME=VALUE$"),
    ("train_era5", "model.latents=3", r"^model\.latents=3: want a class, as model\.latents\._tar"),
    ("train_era5", "model._target_=os.system", r"^config model: _target_=os\.system is none of"),
    ("train_era5", "+stream.lains=3", r"^stream\.lains: no such option; did you mean stream\.la"),
    ("train_era5", "+stroe=x", r"^stroe: no such option; did you mean store\? there are pl"),
    ("train_era5", "vectors=[[u10]]", r"^vectors=\[\['u10'\]\]: want a list of pairs of n"),
    ("train_era5", "vectors=[[u10,u10]]", r"^vectors=\[\['u10', 'u10'\]\]: want .* each name on"),
    ("train_era5", "vectors=[[u10,v10],[v10,t]]", r"each name once$"),
    ("train_era5", "weights=best", r"^weights=best: want a mapping of names of numbers ≥ 0 or aut"),
    ("train_era5", "weights={z: -1}", r"^weights={'z': -1}: want a mapping of names of numbers ≥"),
    ("train_era5", "vectors=[u10,v10]", r"^vectors=\['u10', 'v10'\]: want a list of pairs of nam"),
    ("forecast_era5", "starts=[2018-01-01,2018-01-01]", r"^starts=.*dates in ISO 8601, each once"),
    ("evaluate_era5", "must_beat=[6,6]", r"^must_beat=\[6, 6\]: want a list of whole hours, each"),
    ("benchmark_weather", "rows=[gbdm,gbdm]", r"^rows=\['gbdm', 'gbdm'\]: want a list of name"),
    ("train_era5", "physics.priors.diffusion=[1]", r"^physics\.priors\.diffusion=\[1\]: want a l"),
    ("train_era5", "+schedules.nois={_target_: vgbdm.training.schedules.Constant, value: 1}",
     r"^schedules\.nois: Matching reads no such schedule; did you mean noise\?"),
    ("train_era5", "~schedules.noise.value", r"^schedules\.noise\.value=… is missing: want a num"),
    ("train_system", "+objective.schedules.gage={_target_: vgbdm.training.schedules.Constant, "
     "value: 1}", r"^objective\.schedules\.gage: Matching reads no such schedule; did you mean ga"),
    ("train_era5", "backend.accumulation=3", r"^backend\.accumulation=3: want a divisor of batch="),
    ("train_system", "objective.schedules.gauge.begin=1", r"begin=1: want less than objective\.s"),
    ("train_system", "model.residual_inputs=[X,W]", r"W is no component of the system \(there are"),
    ("train_system", "system.prior.mu=[1,2]", r"^system\.prior\.mu: no such parameter \(there are"),
    ("simulate_system", "~system.ranges.rho", r"^system\.ranges\.rho=… is missing: want \[low, hi"),
    ("train_system", "trainer.threads=0", r"^trainer\.threads=0: want a whole number 1 … 1024$"),
    ("train_system", "model.solver.method=rk5", r"^model\.solver\.method=rk5: want one of euler"),
    ("convert_era5", "variables=[z,z]", r"^variables=\['z', 'z'\]: want a list of names, each"),
    ("convert_era5", "variables=[zz]", r"^variable zz is unknown; known are t, t2m, u10, v10, z;"),
    ("convert_era5", "split=null", r"^split=null: which period .* Give period=\[START,END\]"),
    ("convert_era5", "split.val=[2015,2016]", r"^split\.val=\['?2015'?, '?2016'?\]: want it after"),
    ("convert_era5", "split.train=[x,2016]", r"^split\.train=\['x', 2016\]: want \[START, END\]"),
    ("make_sample", "days=1e9", r"^days=1000000000\.0: want a whole number 1 … 100000 \(days\)$"),
    ("make_sample", "start=2006-13-01", r"^start=2006-13-01: want a date in ISO 8601$"),
    ("forecast_era5", "leads=42", r"^leads=42: want a duration such as 6h, 5d or 2mo$"),
    ("train_era5", "trainer.max_minutes=1e-9", r"max_minutes=1e-09: want a number ≥ 0\.01 \(minut"),
    ("train_era5", "trainer.hang_minutes=1e-9", r"hang_minutes=1e-09: want a number ≥ 0\.1, < 120"),
    ("train_era5", "trainer.save_minutes=1e-9", r"save_minutes=1e-09: want a number ≥ 0\.001 \(mi"),
    ("train_era5", "trainer.max_skips=0", r"^trainer\.max_skips=0: want a whole number ≥ 1"),
    ("train_era5", "schedules.noise.value=-1", r"^schedules\.noise\.value=-1: want a number ≥ 0$"),
    ("train_era5", "physics.priors.diffusion=[1,0]", r"=\[1, 0\]: want a list of 2 numbers > 0$"),
    ("train_era5", "model.wind=[u10,u10]", r"^model\.wind=\['u10', 'u10'\]: want two names, the e"),
    ("train_era5", "backend.offload=cpu", r"^backend\.offload=cpu: needs backend\.stage=1$"),
    ("train_era5", "backend.nvme_path=d", r"^backend\.nvme_path: does nothing without backend\.of"),
    ("train_era5", "halo=2", r"^halo=2: does nothing with region=null; give task=regional and"),
    ("train_era5", "step=1mo", r"^validation\.lead=24h: not a multiple of the model's step"),
    ("train_era5", "finetune=3", r"^finetune=3: want its options"),
    ("train_system", "backend.accumulation=3", r"^backend\.accumulation=3: want a divisor of batc"),
    ("train_system", "system.prior.sigma=[1,0]", r"=\[1, 0\]: want \[mean, standard deviation > 0"),
    ("train_system", "model.residual_inputs=[X,X]", r"=\['X', 'X'\]: want each component once$"),
    ("train_system", "model.residual_inputs=[]", r"=\[\]: want state, everything, or components$"),
    ("train_system", "trainer.total_steps=1e3", r"; as a whole number it is written 1000$"),
    ("convert_era5", "source.root=''", r"^source\.root=: want text that is not empty$"),
    ("convert_era5", "source.fields.q=3", r"^source\.fields\.q=3: want a mapping of names$"),
    ("convert_era5", "variables=z", r"^variables=z: want a list of names, each once$"),
    ("convert_era5", "split.val=2016", r"^split\.val=2016: want \[START, END\], dates in ISO 8601"),
    ("convert_era5", "dask.scheduler=tcp://", r"^dask\.scheduler=tcp://: want threads, synchronou"),
    ("make_sample", "start=now", r"^start=now: want a date in ISO 8601$"),
    ("forecast_era5", "checkpoint=BEST", r"^checkpoint=BEST: want one of best, last; did you mean"),
    ("benchmark_data", "parts=[all]", r"^parts=\['all'\]: want a list of conversion \| small \| b"),
    ("benchmark_systems", "preset=lap", r"^preset=lap: want one of smoke, short, laptop, full"),
    ("store", "action=mend", r"^action=mend: want one of info, verify, upgrade, repair$"),
]  # fmt: skip


@pytest.mark.parametrize(("launcher", "override", "line"), REFUSED)
def test_what_makes_no_sense_is_refused_in_one_line(launcher, override, line):
    with pytest.raises(InputError, match=line) as refusal:
        check(launcher, changed(launcher, override))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("path", ["linear", "bridge"])
def test_a_path_without_accelerations_serves_no_system_of_second_order(path):
    """It trained on an acceleration of 0."""
    accepted("train_system", f"path={path}")
    with pytest.raises(InputError, match=r"^path: \w+ gives no accelerations.* path=hermite$"):
        check("train_system", composed("train_system", "system=pendulum", f"path={path}"))


def test_blocks_of_a_model_that_has_none_coarser_are_not_coarsened():
    check("train_era5", composed("train_era5", "size.coarsening=2"))
    check("train_era5", composed("train_era5", "model=climode"))
    with pytest.raises(InputError, match=r"^size\.coarsening=2: does nothing in this model"):
        check("train_era5", composed("train_era5", "model=climode", "size.coarsening=2"))


IDLE = [
    (
        "train_era5",
        "trainer.max_skips=3",
        r"^trainer\.max_skips: does nothing with trainer\.nonfini",
    ),
    (
        "convert_era5",
        "halo=2",
        r"^halo: does nothing with region=null; leave it out, or give region$",
    ),
    ("store", "period=[2006,2007]", r"^period: does nothing with action=info; leave it out, or gi"),
    (
        "store",
        "halo=2",
        r"^halo: does nothing with action=info; leave it out, or give action=repair$",
    ),
    ("store", "force_unlock=true", r"or give action=upgrade or action=repair$"),
]
"""Options that do nothing with what others are where nothing is said of those."""
WITH = [
    (
        "convert_era5",
        {"append": True, "codec": "none"},
        "codec",
        r"^codec: does nothing with append",
    ),
    (
        "forecast_era5",
        {"starts": "latest"},
        "split",
        r"^split: does nothing with starts=latest; le",
    ),
    (
        "train_era5",
        {"model": {"source": False}},
        "model.source_limit",
        r"^model\.source_limit: does",
    ),
]


@pytest.mark.parametrize(("launcher", "override", "line"), IDLE)
def test_what_does_nothing_is_refused_where_it_is_given(launcher, override, line):
    config, key = changed(launcher, override), override.partition("=")[0]
    check(launcher, config)
    with pytest.raises(InputError, match=line):
        check(launcher, config, [key])


@pytest.mark.parametrize(("launcher", "others", "key", "line"), WITH)
def test_what_another_option_makes_idle_is_refused_where_it_is_given(launcher, others, key, line):
    check(launcher, composed_once(launcher), [key])
    config = OmegaConf.merge(composed_once(launcher), others)
    check(launcher, config)
    with pytest.raises(InputError, match=line):
        check(launcher, config, [key])


def test_null_is_given_for_an_option_that_does_nothing():
    check("store", changed("store", "region=null"), ["region"])


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_option_has_a_kind_and_a_sentence(launcher):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose(launcher)
    options = options_of(launcher, config)
    keys = [option.key for option in options]
    assert len(set(keys)) == len(keys) > 1
    assert [option.key for option in options if not option.sentence] == []
    missing = sorted(OmegaConf.missing_keys(config))
    assert {option.key for option in options if option.default is REQUIRED} >= set(missing)


def test_options_tell_type_range_unit_and_choices():
    found = {o.key: o for o in options_of("train_era5", composed("train_era5", "model=vgbdm"))}
    memory, compile_ = found["stream.memory_gib"], found["backend.compile"]
    assert (memory.kind, memory.bounds, memory.unit, memory.default) == ("number", "> 0", "GiB", 4)
    assert compile_.choices == ("false", "true", "graphs")
    assert (found["model.latents.memory"].bounds, found["model.latents.memory"].group) == (
        "0 … 1",
        "model",
    )
    assert found["trainer.max_minutes"].common and found["trainer.max_minutes"].nullable
    assert not found["stream.threads"].common


def test_nothing_of_torch_is_imported_to_check_a_config():
    script = (
        "import sys, json; sys.path.insert(0, 'launch'); from entry import compose_config\n"
        "compose_config('train_era5', ['store=s', 'run_dir=r'])\n"
        "compose_config('train_system', ['data.train=a', 'data.val=b'])\n"
        "print(json.dumps(sorted({'torch', 'xarray', 'zarr'} & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPO, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []
