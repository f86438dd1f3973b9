"""Choices that plugins and given folders bring are found wherever ours are."""

import completion
import entry
import multirun
import pytest
from refusals import refused

from vgbdm import plugins

BREAKS = " \t\n\"'><=;|&(:"


@pytest.fixture(params=["plugins=[strange]", "hydra.searchpath=['{}']"])
def told(tmp_path, monkeypatch, request):
    """An argument that brings a system of a stranger."""
    configs = tmp_path / "strange" / "configs"
    (configs / "system").mkdir(parents=True)
    (tmp_path / "strange" / "__init__.py").write_text("raise SystemExit('imported')")
    (configs / "system" / "lorenz_too.yaml").write_text(
        "# Theirs. And more.\ndefaults: [lorenz, _self_]\nstart_std: 0.25\n"
    )
    monkeypatch.setattr(plugins, "_named", {})
    monkeypatch.syspath_prepend(tmp_path)
    return request.param.format(configs)


def helped(*words, capsys):
    entry.show(lambda cfg: None, "simulate_system", words)
    return capsys.readouterr().out


def test_help_lists_them(told, capsys):
    assert "lorenz | pendulum" in helped("--help", capsys=capsys)
    assert "lorenz | lorenz_too | pendulum" in helped("--help", told, capsys=capsys)
    page = helped("--help", "system", told, "system=lorenz_too", capsys=capsys)
    assert "* system=lorenz_too" in page and "Theirs" in page and "start_std=0.25" in page


def test_they_are_completed(told):
    for more in ("", "n=0x "):  # what cannot be composed hides no choice
        line = f'vgbdm simulate-system "{told}" {more}system=lorenz_'
        assert completion.complete(line, BREAKS) == ["lorenz_too"]


def test_errors_list_them(told):
    def compose(choice):
        return entry.compose_config("simulate_system", [told, "out=o", f"system={choice}"])

    assert compose("lorenz_too").system.start_std == 0.25
    refused(lambda: compose("lorenz_to"), "did you mean lorenz_too? there are lorenz, lorenz_too")
    refused(lambda: compose("3"), "takes the name of a choice; there are lorenz, lorenz_too, pen")


def test_a_pattern_takes_them(told):
    combinations = multirun.sweep([told, "system=glob(lorenz*)"])
    assert [varied for _, varied in combinations] == [["system=lorenz"], ["system=lorenz_too"]]
    runs = multirun.plan(
        [told, "system=glob(lorenz_*)", "out=o"],
        lambda overrides: entry.compose_config("simulate_system", overrides),
        entry.folder_made,
    )
    assert runs[0].cfg.system.start_std == 0.25
