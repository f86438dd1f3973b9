"""The grid to convert to, told by its name or by a store, as the launchers read it."""

import pytest
from entry import compose_config
from refusals import refused

from vgbdm.options.option import options_of

CONVERSION = ["store=s", "source.root=r"]


@pytest.mark.parametrize(
    ("told", "want"),
    [
        ("regrid=5.625", 5.625),
        ("regrid=2", 2),
        ("regrid=32x64", "32x64"),
        ("regrid=null", None),
        ("regrid.like=/a/store", {"like": "/a/store"}),
        ("regrid={like: store}", {"like": "store"}),
    ],
)
def test_a_grid_is_told_by_its_name_or_by_a_store(told, want):
    assert compose_config("convert_era5", [*CONVERSION, told]).regrid == want
    repair = ["action=repair", "source=weatherbench", *CONVERSION, told]
    assert compose_config("store", repair).regrid == want


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (["regrid=7"], "regrid=7: want degrees that divide 90, at most 30, or ROWSxCOLUMNS"),
        (["regrid=45"], "regrid=45: want degrees that divide 90, at most 30, or ROWSxCOLUMNS"),
        (
            ["regrid=4x64"],
            "regrid=4x64: want degrees that divide 90, at most 30, or ROWSxCOLUMNS "
            "such as 32x64, at least 5x8",
        ),
        (["regrid=32x66"], "columns a multiple of 4"),
        (["regrid.lik=x"], "did you mean regrid.like?"),
        (["regrid.like=x", "regrid=5.625"], "regrid.like: does nothing beside regrid=5.625"),
        (["regrid=5.625", "regrid.like=x"], "does nothing beside regrid=5.625; give one of them"),
    ],
)
def test_another_grid_is_refused_in_one_line(told, words):
    refused(lambda: compose_config("convert_era5", [*CONVERSION, *told]), words)


def test_both_ways_to_tell_a_grid_are_listed():
    cfg = compose_config("convert_era5", CONVERSION)
    listed = {option.key: option for option in options_of("convert_era5", cfg)}
    assert listed["regrid"].default is None and listed["regrid"].kind.startswith("degrees that")
    assert listed["regrid.like"].default is None and listed["regrid.like"].kind == "text"
    line = "regrid.like: does nothing with action=info; leave it out, or give action=repair"
    refused(lambda: compose_config("store", ["action=info", "store=s", "regrid.like=x"]), line)
