"""Saved configs name classes where an earlier version had them."""

import importlib

import pytest

from vgbdm.paths.path import Path
from vgbdm.plugins import trusted_packages
from vgbdm.registry.build import build, marks_of
from vgbdm.registry.former import renewed

TABLES = {
    name: getattr(importlib.import_module(name), "FORMER_MODULES", {})
    for name in trusted_packages()
}


@pytest.mark.parametrize("package", trusted_packages())
def test_what_moved_is_listed_where_it_is_now(package):
    for former, module in TABLES[package].items():
        place, _, name = former.rpartition(".")
        assert marks_of(module) and not marks_of(former)
        if name[0].isupper():  # a class of a module that was split
            assert name in marks_of(module) and name not in marks_of(place)


def test_classes_are_looked_up_at_any_depth_and_nothing_else_changes():
    old, new = (f"{module}.Lorenz" for module in next(iter(TABLES["physics_systems"].items())))
    saved = {"a": [{"_target_": old, "b": {"_target_": old}}, old], "_target_": "vgbdm.x.Y", "c": 1}
    now = {"a": [{"_target_": new, "b": {"_target_": new}}, old], "_target_": "vgbdm.x.Y", "c": 1}
    assert renewed(saved) == now and saved["a"][0]["_target_"] == old


@pytest.mark.parametrize("odd", [None, 3, "", ".", "os.system", ["physics_systems"], {}])
def test_what_is_no_class_of_these_packages_stays_for_the_list_to_refuse(odd):
    assert renewed({"_target_": odd}) == {"_target_": odd}


@pytest.mark.parametrize("name", ["BridgePath", "HermitePath", "LinearPath"])
def test_classes_of_a_module_that_was_split_are_found_each_in_its_own(name):
    path = renewed({"_target_": f"vgbdm.paths.{name}"})["_target_"]
    assert isinstance(build({"_target_": path}), Path)
