"""Libraries are silent, and what matters is said; each launcher says what to do next."""

import logging
import os
import shlex
import sys
import warnings

import ending
import pytest
import quiet


@pytest.fixture
def silenced(monkeypatch):
    """As a launcher does it, and all as it was afterwards."""
    for name in quiet.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        quiet.silence()
        yield
    for name in quiet.NOISY:
        logging.getLogger(name).removeFilter(quiet.errors_alone)
    for name in quiet.VARIABLES:
        os.environ.pop(name, None)


@pytest.mark.parametrize("name", quiet.NOISY)
def test_loggers_of_libraries_say_errors_alone_whatever_level_they_set(silenced, name, caplog):
    logger = logging.getLogger(name)
    monkey, logger.propagate = logger.propagate, True
    level = logger.level
    logger.setLevel(logging.DEBUG)  # as DeepSpeed does when it is imported
    logger.addHandler(caplog.handler)
    try:
        logger.warning("chatter")
        logger.error("matters")
    finally:
        logger.removeHandler(caplog.handler)
        logger.propagate = monkey
        logger.setLevel(level)
    assert "matters" in caplog.text and "chatter" not in caplog.text


@pytest.mark.parametrize(
    "category, module, shown",
    [
        (UserWarning, "torch.nn.modules", False),
        (UserWarning, "deepspeed", False),
        (FutureWarning, "xarray", False),
        (DeprecationWarning, "climate", False),
        (RuntimeWarning, "numpy", True),
        (UserWarning, "xarray.core", True),
        (UserWarning, "torchdata", True),
        (RuntimeWarning, "torch", True),
    ],
)
def test_warnings_that_matter_stay(silenced, category, module, shown):
    with warnings.catch_warnings(record=True) as caught:
        quiet.silence()
        warnings.warn_explicit("x", category, "file.py", 1, module=module)
    assert len(caught) == int(shown)


def test_what_a_user_has_set_stays(monkeypatch, silenced):
    monkeypatch.setenv("TORCH_CPP_LOG_LEVEL", "INFO")
    quiet.silence()
    assert os.environ["TORCH_CPP_LOG_LEVEL"] == "INFO"


@pytest.mark.parametrize("script", ["launch/train_era5.py", "HERE/launch/train_era5.py"])
def test_the_next_command_can_be_given_as_it_stands(monkeypatch, tmp_path, script):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script.replace("HERE", str(tmp_path))])
    line = ending.command("forecast_era5", "run_dir=a b", "out=FORECAST", "period=[1,2]")
    assert shlex.split(line) == [
        "python", "launch/forecast_era5.py", "run_dir=a b", "out=FORECAST", "period=[1,2]"
    ]  # fmt: skip
