"""Folds inside the training period: in order, apart, and all within it."""

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import weather_folds


def test_blocks_are_the_last_of_the_period_and_training_lies_before_each():
    folds = weather_folds.splits(["2026-03-24T00", "2026-04-23T00"], 2, 7)
    assert folds[1] == {
        "train": ["2026-03-24T00", "2026-04-14T06"],
        "val": ["2026-04-14T12", "2026-04-16T00"],
        "test": ["2026-04-16T06", "2026-04-23T00"],
    }
    times = [
        [np.datetime64(end) for part in ("train", "val", "test") for end in fold[part]]
        for fold in folds
    ]
    assert all(row == sorted(row) and len(set(row)) == 6 for row in times)
    assert times[0][-1] < times[1][-2]
