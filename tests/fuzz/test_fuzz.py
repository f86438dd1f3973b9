"""The fuzz finds what a check that is taken out lets through, and nothing where all are there."""

import itertools
import random
import sys
import time
from pathlib import Path
from typing import Annotated, get_args, get_origin

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz import children, damage, gadgets, judging, kills, names, options
from fuzz.artefacts import make
from vgbdm.errors import InputError
from vgbdm.options import check
from vgbdm.storage import door, sealed, sealing

TRIES = 400
"""Of a control; each group makes more than this in a minute."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("made"))


def first(tries, *verdicts):
    """The first result with one of some verdicts, or None."""
    found = itertools.islice(tries, TRIES)
    return next((result for result in found if result.verdict in verdicts), None)


@pytest.mark.parametrize(
    ("ending", "verdict"),
    [
        (lambda: {"a": np.arange(3)}, judging.RIGHT),
        (lambda: {"a": np.arange(3) + 1}, judging.SILENT),
        (lambda: {"a": np.arange(3.0)}, judging.SILENT),
        (lambda: {}, judging.SILENT),
        (lambda: (_ for _ in ()).throw(InputError("/place/x: no")), judging.REFUSED),
        (lambda: (_ for _ in ()).throw(InputError("b: no")), judging.REFUSED),
        (lambda: (_ for _ in ()).throw(InputError("no")), judging.UNNAMED),
        (lambda: 1 / 0, judging.TRACEBACK),
        (lambda: [None for _ in iter(int, 1)], judging.HANG),
    ],
)
def test_verdicts(monkeypatch, ending, verdict):
    if verdict == judging.HANG:  # the others have their time, on a machine that does much else
        monkeypatch.setattr(judging, "PATIENCE", 0.2)
        monkeypatch.setattr(judging.patience.__wrapped__, "__defaults__", (0.2,))
    found = judging.judge("what", ending, {"a": np.arange(3)}, Path("/place"), {"b"})
    assert found.verdict == verdict


@pytest.mark.slow
def test_nothing_is_found_where_all_checks_are_there(made, tmp_path):
    for group in (damage, names):
        place = tmp_path / group.__name__
        place.mkdir()
        tries = group.tries(made, place, random.Random(0))
        found = first(itertools.islice(tries, 100), *judging.DEFECTS)
        assert found is None, found


@pytest.mark.slow
def test_a_file_that_is_not_compared_is_found(made, tmp_path, monkeypatch):
    def believe(folder, name, path, wants):
        return path.read_bytes()

    monkeypatch.setattr(sealed.Sealed, "_compared", believe)
    found = first(damage.tries(made, tmp_path, random.Random(0)), judging.SILENT)
    assert found is not None


@pytest.mark.slow
def test_a_manifest_that_is_not_compared_is_found(made, tmp_path, monkeypatch):
    real = sealing.hashlib.sha256

    class Any(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other):
            return True

        def __ne__(self, other):
            return False

    class Hash:
        def __init__(self, raw=b""):
            self.real = real(raw)

        def hexdigest(self):
            return Any(self.real.hexdigest())

    monkeypatch.setattr(sealing.hashlib, "sha256", Hash)
    found = first(damage.tries(made, tmp_path, random.Random(0)), judging.SILENT)
    assert found is not None


@pytest.mark.slow
def test_codecs_that_are_not_looked_at_are_found(made, tmp_path, monkeypatch):
    def here(work, seconds, kill=False):
        try:
            work()
        except Exception as error:
            return judging.REFUSED, str(error)
        return judging.RIGHT, ""

    monkeypatch.setattr(gadgets, "run", here)
    assert (
        first(gadgets.tries(made, tmp_path / "whole", random.Random(0)), judging.EXECUTED) is None
    )
    for module in (door, sealed):
        monkeypatch.setattr(module, "check_metadata", lambda *_: None)
    tries = gadgets.tries(made, tmp_path / "open", random.Random(0))
    assert first(tries, judging.EXECUTED) is not None


def half_written(target):
    """Writes a file in pieces under its own name, and takes a second."""
    with (target / "out").open("w", buffering=1) as file:
        for _ in range(200):
            file.write("x" * 100 + "\n")
            time.sleep(0.005)


def length(target):
    return {"length": np.array((target / "out").stat().st_size)}


@pytest.mark.slow
def test_a_writer_without_care_is_found(tmp_path):
    children.preload("fuzz.test_fuzz")
    job = kills.Job("careless", kills.nothing, half_written, length)
    want = {"length": np.array(200 * 101)}
    moments = [0.01 * 2**k for k in range(7)]  # a busy machine may begin late
    found = (kills.once(job, None, want, moment, tmp_path / f"{moment}") for moment in moments)
    assert any(result.verdict == judging.SILENT for result in found)


def without_ranges(annotation):
    """The types that are checked, less their ranges; what is said of them stays."""
    bare = annotation
    while get_origin(bare) is Annotated:
        bare = get_args(bare)[0]
    return bare if bare in (int, float) else whole_type_of(annotation)


whole_type_of = check.type_of


def test_a_range_that_is_not_checked_is_found(monkeypatch, tmp_path):
    for option, value in (("stream.lanes", 0), ("optimizer.weight_decay", -1.5)):
        told = next(o for o in options.options("train_era5") if o.key == option)
        stated = options.states(told, value)
        found = options.judge("train_era5", option, value, stated)
        assert found.verdict == judging.REFUSED
        with monkeypatch.context() as patched:
            patched.setattr(check, "type_of", without_ranges)
            found = options.judge("train_era5", option, value, stated)
            assert found.verdict in (judging.SILENT, judging.TRACEBACK)


def test_words_that_say_less_than_is_checked_are_found():
    found = options.judge("train_era5", "batch", 0, True)
    assert found.verdict == judging.SILENT


@pytest.mark.slow
def test_nothing_is_found_among_options(tmp_path):
    tries = options.tries({}, tmp_path, random.Random(0))
    assert first(tries, *judging.DEFECTS) is None
