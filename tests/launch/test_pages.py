"""The pages of help and of the config."""

import entry
import pytest
import yaml
from catalog import FOLDER, launchers
from omegaconf import OmegaConf
from pages import composed, described, overview, row
from reading import read_choices, read_options, read_told
from refusals import refused

from vgbdm.options.option import REQUIRED, Option, options_of

NAMES = sorted(launchers())


def option(key="a.b", **told):
    facts = {"kind": "whole number", "default": 3, "bounds": "≥ 1", "unit": "", "choices": ()}
    facts |= {"sentence": "how many there are.", "common": False, "group": "a"}
    return Option(key=key, **(facts | told))


def helped(name, *words, capsys):
    launcher = launchers()[name]

    def main(cfg):
        """What it does."""

    entry.show(main, launcher.config_name, ["--help", *words])
    return capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_help_fits_a_screen_and_names_all_that_there_is(name):
    launcher = launchers()[name]
    told = read_told(launcher.config_name)
    options = options_of(launcher.config_name, told.cfg)
    text = overview(launcher.about, told, options, 100)
    assert len(text.splitlines()) <= 60 and max(map(len, text.splitlines())) <= 100
    for one in options:
        place = one.key.split(".")[0]
        assert any(word.strip(":,").split("=")[0].rstrip(".") == place for word in text.split())
    for one in options:
        if one.default is REQUIRED:
            assert f"  {one.key}=…" in text


def test_every_launcher_is_known_with_its_config_and_its_bare_arguments():
    known = launchers()
    scripts = {path.stem for path in FOLDER.glob("*.py") if "\n    launch(" in path.read_text()}
    assert set(known) == scripts and len(known) > 10
    assert known["check"].config_name == "check"
    assert known["store"].positional == ("action", "store")
    assert known["train_era5"].about.startswith("Train a weather model")


def test_a_page_is_as_wide_as_the_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    text = helped("train_era5", capsys=capsys)
    assert max(map(len, text.splitlines())) <= 60
    monkeypatch.setenv("COLUMNS", "300")
    assert 60 < max(map(len, helped("train_era5", capsys=capsys).splitlines())) <= 100


def test_a_group_shows_its_choices_and_the_options_of_the_chosen_one(capsys):
    text = helped("train_era5", "size", "size=tiny", capsys=capsys)
    assert "* size=tiny" in text and "  size=small" in text and "For laptops" in text
    assert "options of size=tiny:" in text and "size.width=16" in text
    assert "size.width=48" in helped("train_era5", "size", capsys=capsys)
    everywhere = helped("train_system", "objective", "objective=node", capsys=capsys)
    assert "objective.ahead=" in everywhere and "  batch=" in everywhere
    assert "trainer.nonfinite=skip" in everywhere and "trainer.total_steps" not in everywhere


def test_a_group_that_changes_no_single_key_shows_its_files_keys(capsys):
    text = helped("train_era5", "task", "task=regional", capsys=capsys)
    assert "halo=4" in text and "step=6h" in text and "* task=regional" in text


def test_a_block_and_a_single_option_have_pages_too(capsys):
    text = helped("train_era5", "stream", capsys=capsys)
    assert "stream.lanes=8" in text and "options of" not in text
    assert helped("train_era5", "stream.lanes", capsys=capsys).startswith("  stream.lanes=8")
    two = helped("train_era5", "stream.lanes", "seed", capsys=capsys)
    assert "stream.lanes=8" in two and "\n\n  seed=0" in two


def test_an_unknown_name_is_answered_with_the_nearest(capsys):
    line = "--help modle: no such group or option; did you mean model?"
    refused(lambda: helped("train_era5", "modle", capsys=capsys), line)
    line = "did you mean trainer.max_minutes?"
    refused(lambda: helped("train_era5", "max_minutes", capsys=capsys), line)
    refused(lambda: helped("train_era5", "model", "model=oracle", capsys=capsys), "no such choice")


def test_an_option_that_a_group_or_a_class_gives_says_so():
    facts = {"choices": ("x", "y"), "bounds": "", "sentence": ""}
    assert described(option(**facts, nullable=True)) == "(x | y | null)"
    (finetune,) = (o for o in read_options(read_told("train_era5")) if o.key == "finetune")
    assert described(finetune) == "a stage after matching; null: none (draws | rollout)"
    for name in NAMES:
        options = read_options(read_told(launchers()[name].config_name))
        assert [o.key for o in options if o.kind == "value" and not o.choices] == []
    assert described(options[[o.key for o in options].index("model.head")]).endswith("(class)")


def test_a_row_says_type_range_unit_default_and_sentence():
    assert row(option(unit="hours"), 100) == [
        "  a.b=3                     how many there are (whole number ≥ 1, hours)"
    ]
    assert described(option(kind="text", choices=("x", "y"), bounds="", sentence="")) == "(x | y)"
    assert row(option(), 50)[1].strip() == "(whole number ≥ 1)" and len(row(option(), 50)) == 2
    assert described(option(only="region")).endswith("(whole number ≥ 1, only with region)")
    halo = next(o for o in read_options(read_told("train_era5")) if o.key == "halo")
    assert halo.only == "region"
    long = row(option(key="a.very.long.key.of.an.option"), 100)
    assert long[0] == "  a.very.long.key.of.an.option=3" and long[1].strip().startswith("how many")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), ([1, "a"], "[1, a]"), ({"a": [None]}, "{a: [null]}"),
     (1e-3, "0.001"), (REQUIRED, "…")],
)  # fmt: skip
def test_defaults_stand_as_they_would_be_told(value, text):
    assert row(option(key="k", default=value), 100)[0].split("  ")[1] == f"k={text}"


def test_choices_have_the_sentence_of_their_files():
    (regional,) = (c for c in read_choices(read_told("train_era5"), "task") if c.name == "regional")
    assert regional.sentence == "States hours apart in a box"
    assert {"region", "halo", "step", "physics.wind_limit"} <= set(regional.keys)
    told = read_told("train_era5")
    for group, names in told.names.items():
        choices = read_choices(told, group)
        assert [choice.name for choice in choices if choice.sentence] == names


def test_the_config_is_resolved_and_what_is_missing_stays_so():
    text = composed(read_told("train_era5", ["run_dir=R", "stage=${store}/x"]).cfg)
    plain = yaml.safe_load(text)
    assert plain["store"] == "???" and plain["stage"] == "???/x" and plain["run_dir"] == "R"
    assert plain["objective"]["seed"] == 0 and plain["model"]["width"] == 48


def test_the_config_shows_no_secret(capsys):
    told = ["source=weatherbench2", "+source.storage_options.token=hunter22", "--cfg"]
    entry.show(lambda cfg: None, "convert_era5", told)
    text = capsys.readouterr().out
    assert "hunter22" not in text and "token: '***'" in text


def test_what_cfg_prints_is_a_config_that_composes_to_the_same():
    cfg = read_told("train_system").cfg
    again = OmegaConf.create(yaml.safe_load(composed(cfg.copy())))
    assert sorted(again) == sorted(cfg) and again.model.window == 30
