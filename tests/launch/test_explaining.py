"""Arguments that Hydra cannot take: which one, why, and what to give instead."""

import re
import shlex

import entry
import explaining
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from refusals import refused

GIVEN = ["store=s", "run_dir=r"]
CASES = {
    "stroe=x": ["argument stroe: no such option; did you mean store?", "seed, size, stage"],
    "modle=gbdm": ["argument modle: no such option; did you mean model?"],
    "trainer.max_minuts=3": ["did you mean trainer.max_minutes?", "trainer.total_steps, trainer"],
    "max_minutes=3": ["argument max_minutes: no such option; did you mean trainer.max_minutes?"],
    "size.heds=3": ["size.heds: no such option; did you mean size.heads? there are size.width,"],
    "seed.x=3": ["argument seed.x: no such option; seed is one value, without parts"],
    "model=oracle": ["model=oracle: no such choice; there are blackbox, climode, gbdm, vgbdm"],
    "model=gbmd": ["model=gbmd: no such choice; did you mean gbdm?"],
    "model=null": ["model=null: model takes the name of a choice; there are blackbox,"],
    "finetune=null": [
        "finetune takes the name of a choice; there are draws, rollout; for none leave it"
    ],
    "size=3": ["size=3: size takes the name of a choice; there are large, published"],
    "objective=node": ["objective: takes no choice; give its parts: objective._target_, objec"],
    "region=Europe": ["argument region: only task=regional has it; give that too"],
    "finetune.rate.peak=3": [
        "finetune.rate.peak: only finetune=draws or finetune=rollout has it; give"
    ],
    "model.latents.points=3": ["model.latents.points: only model=vgbdm has it; give that too"],
    "+seed=3": ["argument +seed=3: seed is there already; give it without +: seed=3"],
    "+model=gbdm": ["argument +model=gbdm: model is there already; give it without +: model=gbdm"],
    "~seed=5": ["argument ~seed=5: options cannot be taken away; give seed="],
    "seed=1,2": ["not readable as one value; 'seed=[1,2]' is a list, --multirun makes a run of"],
    "a b=3": ["argument a b=3: 'a b' is no key; want key=value"],
    "=3": ["argument =3: '' is no key; want key=value"],
    "batch=[1,2": ["argument batch=[1,2: not readable; close its brackets"],
    "init='a": ["argument init='a: not readable; close its quotes"],
    "init=R-${sed}": ["R-${sed}: there is no option sed to refer to; did you mean seed?"],
    "init=${batch.x}": ["no option batch.x to refer to; did you mean batch?"],
    "init=${.x}": ["argument init=${.x}: there is no option x to refer to; another option's value"],
    "seed=${oc.env:NOPE}": ["${oc.env:NOPE}: there is no environment variable NOPE; set it, or sa"],
    "init=a-${oc.env:NOPE}": ["argument init=a-${oc.env:NOPE}: there is no environment variable"],
    "seed=${oc.nope:x}": ["seed=${oc.nope:x}: oc.nope is no kind of reference; another option's"],
    "init=${oc.decode:}": ["argument init=${oc.decode:}: it refers to nothing; another option's"],
    "seed=${seed}": ["argument seed=${seed}: its value is taken from itself; give it one"],
    'init="${"': ["${ begins no reference; another option's value is ${OPTION}", "'init=\"\\${\"'"],
    "seed=${": ["argument seed=${: not readable; quote the value: 'seed=\"\\${\"'"],
    "model=${oc.env:X}": ["model=${oc.env:X}: model takes the name of a choice; there are black"],
    "hydra.run.dir=x": ["argument hydra.run.dir=x: does nothing here, leave it out; of Hydra's o"],
    "+hydra.verbose=true": ["argument +hydra.verbose=true: does nothing here, leave it out"],
    "hydra/launcher=basic": ["argument hydra/launcher=basic: does nothing here, leave it out"],
    "store=t": ["argument store=t: store is given twice, before as store=s; give it once"],
    "++store=t": ["argument ++store=t: store is given twice, before as store=s; give it once"],
    "seed=???": ["argument seed=… is missing"],
}


@pytest.mark.parametrize("told", CASES)
def test_a_line_names_the_argument_and_what_is_near(told):
    refused(lambda: entry.compose_config("train_era5", [*GIVEN, told]), *CASES[told])


def test_a_choice_that_other_arguments_make_is_known():
    made = entry.compose_config("train_era5", ["region=Europe", *GIVEN, "task=regional"])
    assert made.region == "Europe"
    told = [*GIVEN, "model=vgbdm", "model.latents.point=3"]
    refused(lambda: entry.compose_config("train_era5", told), "did you mean model.latents.points?")


def test_an_option_that_the_schema_alone_knows_needs_no_plus():
    made = entry.compose_config("train_era5", [*GIVEN, "trainer.patience=3", "batch=8"])
    assert (made.trainer.patience, made.batch) == (3, 8)
    told = [*GIVEN, "trainer.patience=3", "stroe=x"]
    refused(lambda: entry.compose_config("train_era5", told), "argument stroe: no such option")


def test_what_is_taken_from_elsewhere_and_what_is_new_in_a_mapping_are_said_so():
    given = ["data.train=a", "data.val=b"]
    told = [*given, "model.encoder.width=3"]
    line = "model.encoder is taken from system.presets.encoder; give system.presets.encoder.width=…"
    refused(lambda: entry.compose_config("train_system", told), line)
    line = "batch: ${system.presets.batch} is not there to take it from; give batch=…"
    refused(lambda: entry.compose_config("train_system", [*given, "system.presets=null"]), line)
    told = ["store=s", "source.root=r", "source=weatherbench2", "source.storage_options.token=x"]
    line = "is empty; what is new in it is given with +: +source.storage_options.token=…"
    refused(lambda: entry.compose_config("convert_era5", told), line)
    assert entry.compose_config("convert_era5", [*told[:-1], f"+{told[-1]}"])


UNREADABLE = [
    "source.fields.z.units=(0 - 1)",
    "regrid=like=STORE",
    "source.root=/data/x;y",
    "source.root=/données",
    "source.root=$(x)",
    'source.root=a"(b',
    "selection.period=[2006,(2007)]",
    "source.fields.z={name: a(b), level: 5}",
]


@pytest.mark.parametrize("told", UNREADABLE)
def test_what_is_said_of_quotes_can_be_read_and_means_what_was_told(told):
    given = ["store=s"]
    with pytest.raises(entry.InputError) as caught:
        entry.compose_config("convert_era5", [*given, told])
    line = str(caught.value)
    assert line.startswith(f"argument {told}: not readable; quote the ") and "\n" not in line
    (better,) = shlex.split(line.partition(": not readable; ")[2].partition(": ")[2])
    parsed = OverridesParser.create().parse_override(better)
    key, _, value = told.partition("=")
    assert parsed.key_or_group == key
    assert re.sub(r"['\s]", "", str(parsed.value())) == re.sub(r"\s", "", value)


def test_what_nothing_was_said_of_can_refer_to_nothing_too():
    told = [*GIVEN, "size.width=${oc.env:NOPE}", "init=${vectors.0.1}"]
    refused(
        lambda: entry.compose_config("train_era5", told), "argument size.width=${oc.env:NOPE}: "
    )
    assert entry.compose_config("train_era5", [*GIVEN, told[-1]]).init == "v10"


def test_a_text_that_looks_like_a_reference_is_taken_as_it_is_quoted():
    (better,) = shlex.split(explaining.quoted("init", "a${b"))
    assert entry.compose_config("train_era5", [*GIVEN, better]).init == "a${b"


def test_a_long_line_stays_one_line():
    refused(lambda: entry.compose_config("train_era5", [*GIVEN, "init=(a\nb)"]), "quote the value")
