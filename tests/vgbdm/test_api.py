"""Back ends of the Python functions are found, whatever state strangers' ones are in."""

import sys
import types

import pytest
import torch

from vgbdm import api
from vgbdm.errors import InputError

BROKEN = "vgbdm.domains broken = nowhere.api cannot be imported"


@pytest.fixture
def domains(monkeypatch):
    """Registers names → modules as domains; ``good`` takes linear layers alone."""
    good = types.ModuleType("good_domain")
    good.handles = lambda thing: isinstance(thing, torch.nn.Linear)
    monkeypatch.setitem(sys.modules, "good_domain", good)

    def register(**modules):
        monkeypatch.setattr(api, "registered", lambda group: modules)
        return good

    return register


def test_a_domain_that_cannot_be_imported_is_named_and_breaks_no_other(domains):
    good = domains(broken="nowhere.api", good="good_domain")
    assert api._domain_of(torch.nn.Linear(1, 1), "run") is good
    with pytest.raises(InputError) as caught:
        api._domain_of(torch.nn.ReLU(), "run")
    line = str(caught.value)
    assert line.startswith("run: ReLU is none that a domain here takes (good)") and BROKEN in line
    assert line.endswith("mend or uninstall the package that registers it") and "\n" not in line


def test_a_domain_is_not_imported_for_what_an_earlier_one_takes(domains):
    good = domains(good="good_domain", broken="nowhere.api")
    assert api._domain_of(torch.nn.Linear(1, 1), "run") is good


def test_a_domain_whose_code_raises_is_named_with_the_first_line_of_it(
    domains, tmp_path, monkeypatch
):
    (tmp_path / "raising_domain.py").write_text("raise ValueError('no\\nsense')")
    monkeypatch.syspath_prepend(tmp_path)
    domains(broken="raising_domain")
    with pytest.raises(InputError, match=r"raising_domain cannot be imported \(no\):"):
        api._domain_of(torch.nn.ReLU(), "run")
