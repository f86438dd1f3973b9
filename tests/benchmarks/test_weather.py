"""Rows of the table of weather models: what they are trained by, one after the other."""

import importlib.util
import sys
from pathlib import Path

import pytest
from entry import compose_config

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))
SPEC = importlib.util.spec_from_file_location("benchmark_weather", BENCHMARKS / "weather.py")
weather = importlib.util.module_from_spec(SPEC)  # tests have another module of that name
SPEC.loader.exec_module(weather)


def stages(row, *options):
    told = ["store=s", "out=o", "minutes=2", "begun_share=0.75", *options]
    return weather.stages(compose_config("benchmark_weather", told), row, Path("o"))


def test_a_row_begins_with_another_model_within_its_own_minutes():
    (first, model, minutes, more), (last, row, left, options) = stages("vgbdm")
    assert (first, model, more) == (Path("o/begun"), "gbdm", [])
    assert (last, row) == (Path("o/run"), "vgbdm")
    assert minutes == pytest.approx(1.5) and minutes + left == pytest.approx(2.0)
    assert options == ["finetune=draws", "init=o/begun"]


def test_others_are_trained_at_once():
    assert stages("climode") == [(Path("o/run"), "climode", 2.0, ["objective.ahead=1"])]
    alone = stages("vgbdm", "begun.vgbdm=null", "row_options.vgbdm=[]")
    assert alone == [(Path("o/run"), "vgbdm", 2.0, [])]
