"""``vgbdm`` as a module under every launcher, from a folder outside of the repository."""

import json
from pathlib import Path

import pandas as pd
import pytest
from processes import finish, starter
from system_fields import short_training

REPO = Path(__file__).resolve().parents[2]
MODULE = {"python": "-m", "torchrun": "-m", "deepspeed": "--module"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Trains on the same data by a launcher's name; gives the folder it was started in."""
    options = short_training(tmp_path_factory.mktemp("lorenz"), 4)

    def train(launcher):
        place = tmp_path_factory.mktemp(launcher)
        words = [*starter(launcher), MODULE[launcher], "vgbdm", "train-system", *options]
        finish([*words, "run_dir=run"], place=place, PYTHONPATH=str(REPO))
        return place

    return train


def losses(place):
    return pd.read_csv(place / "run" / "log.csv")["loss"]


@pytest.mark.slow
def test_two_ranks_train_under_each_launcher_as_one_process_does(trained):
    one, *two = (trained(launcher) for launcher in MODULE)
    for place in two:
        assert {path.name for path in place.iterdir()} == {"run"}
        status = json.loads((place / "run" / "status.json").read_text())
        assert (status["state"], len(losses(place))) == ("finished", 4)
        assert (losses(place) / losses(one) - 1).abs().max() < 1e-5
    backends = [
        json.loads((place / "run" / "config.json").read_text())["backend"]["_target_"]
        for place in (one, *two)
    ]
    assert len(set(backends)) == 1
