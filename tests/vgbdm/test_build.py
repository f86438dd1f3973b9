"""Configs build the project's classes and nothing else."""

import pytest

from vgbdm.build import build
from vgbdm.errors import InputError
from vgbdm.paths import BridgePath


def test_build_makes_the_object_with_further_arguments():
    path = build({"_target_": "vgbdm.paths.BridgePath", "sigma": 0.3}, margin=0.1)
    assert isinstance(path, BridgePath)
    assert (path.sigma, path.margin) == (0.3, 0.1)


@pytest.mark.parametrize(
    "config",
    [
        {"_target_": "builtins.open", "file": "x"},
        {"_target_": "torch.load", "f": "x"},
        {"_target_": "vgbdm.paths.BridgePath", "sigma": {"_target_": "os.getcwd"}},
        {"_target_": "vgbdm.paths.BridgePath", "margin": [{"_target_": "os.getcwd"}]},
        {"_target_": "vgbdmx.paths.BridgePath"},
    ],
)
def test_foreign_targets_are_refused_before_anything_is_imported(config):
    with pytest.raises(InputError, match="not a class of"):
        build(config)


def test_a_config_without_target_is_refused():
    with pytest.raises(InputError, match="_target_ is missing"):
        build({"sigma": 1})
