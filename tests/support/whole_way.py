"""From files to a forecast in this process: conversion, three steps of training, states to come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import xarray as xr
from entry import compose_config
from hydra import compose, initialize_config_dir
from runs import CONFIGS

import vgbdm
from climate.conversion.convert import convert
from climate.sources.opening import open_source
from climate.training.run import train

QUICK = [
    "size=tiny", "batch=8", "trainer.total_steps=3", "trainer.validations=1", "backend=single",
    "validation.starts=1",
]  # fmt: skip


def forecast_of_files(
    root: Path,
    folder: Path,
    splits: Mapping[str, Sequence[str]],
    reading: Sequence[str],
    training: Sequence[str] = ("validation.lead=6h",),
    leads: str = "12h",
) -> xr.Dataset:
    """The forecast of a model that was trained on what ``source=cf_files`` makes of files.

    Args:
        root: of the source.
        folder: for STORE and RUN.
        splits: periods.
        reading: more options of the conversion.
        training: more options of the training.
        leads: longest one.
    """
    told = [f"store={folder}/STORE", "source=cf_files", f'source.root="{root}"', *reading]
    dataset, _ = open_source(compose_config("convert_era5", told))
    convert(dataset, folder / "STORE", splits, source={}, scheduler="synchronous")
    with initialize_config_dir(CONFIGS, version_base="1.3"):
        places = [f"store={folder}/STORE", f"run_dir={folder}/RUN"]
        train(compose("train_era5", [*places, *QUICK, *training]))
    return vgbdm.forecast(vgbdm.load(folder / "RUN"), folder / "STORE", leads=leads)
