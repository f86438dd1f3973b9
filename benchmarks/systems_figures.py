"""Figures of the systems' table, as small SVG files that come out the same each time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from systems_page import FIGURES, lines_of
from systems_rows import ABLATED, BASELINES, PRESET, REFERENCE, STATE, TRAINED

COLOURS = {"vgbdm": "#0b6e99", "blackbox": "#777777", "node": "#c2571a", "physvae": "#8a4fa3",
           "aphynity": "#3f8f3f"}  # fmt: skip
STYLE = {"svg.hashsalt": "systems", "font.size": 8, "axes.spines.top": False,
         "axes.spines.right": False, "svg.fonttype": "none"}  # fmt: skip


def draw_all(table: pd.DataFrame, folder: Path) -> None:
    """Draw every figure; one of which the table says nothing is an empty frame.

    Args:
        table: lines, of which the chosen ones count.
        folder: where they go.
    """
    chosen = table[table["chosen"]]
    makers: tuple[Callable[[pd.DataFrame], Figure], ...] = (error, theta, calibration, ablations)
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        for name, make in zip(FIGURES, makers, strict=True):
            figure = make(chosen)
            figure.tight_layout()
            figure.savefig(folder / name, metadata={"Date": None})


def error(table: pd.DataFrame) -> Figure:
    """Validation score against seconds of optimiser steps, every seed a line."""
    systems = list(table["system"].unique())
    figure = Figure(figsize=(2.4 * len(systems), 2.6))
    for axis, system in zip(
        figure.subplots(1, len(systems), squeeze=False)[0], systems, strict=True
    ):
        for row in (*BASELINES, REFERENCE):
            told = lines_of(table, system, STATE, row)["curve"].dropna()
            for k, curve in enumerate(told):
                points = [point.split(":") for point in str(curve).split()]
                if points:
                    x, y = np.array(points, float).T
                    axis.plot(x, y, color=COLOURS[row], linewidth=1, label=None if k else row)
        axis.set(title=system, xlabel="seconds of steps", yscale="log")
    figure.axes[0].set_ylabel("relative MSE, validation")
    figure.axes[-1].legend(frameon=False, fontsize=6, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def theta(table: pd.DataFrame) -> Figure:
    """Inferred against true θ of VGB-DM's first seed, with either inputs."""
    found = []
    for system in table["system"].unique():
        for inputs, mark in ((STATE, "."), (PRESET, "x")):
            lines = lines_of(table, system, inputs, REFERENCE)
            told = lines["theta_pairs"].dropna()
            if len(told) and (lines["inputs"] == inputs).all():
                for name, pairs in json.loads(str(told.iloc[0])).items():
                    found.append((f"{system} {name}", inputs, mark, pairs))
    names = list(dict.fromkeys(entry[0] for entry in found)) or ["nothing"]
    figure = Figure(figsize=(1.8 * len(names), 2.1))
    axes = dict(zip(names, figure.subplots(1, len(names), squeeze=False)[0], strict=True))
    for name, inputs, mark, (true, inferred) in found:
        axes[name].plot(true, inferred, mark, markersize=3, label=inputs)
        axes[name].plot([min(true), max(true)], [min(true), max(true)], "k-", linewidth=0.6)
        axes[name].set(title=name, xlabel="true")
    figure.axes[0].set_ylabel("inferred")
    if found:
        figure.axes[0].legend(frameon=False, fontsize=6)
    return figure


def calibration(table: pd.DataFrame) -> Figure:
    """Ranks of true θ, pooled over seeds; within the band they are what chance gives."""
    systems = list(table["system"].unique())
    figure = Figure(figsize=(2.2 * len(systems), 2.1))
    for axis, system in zip(
        figure.subplots(1, len(systems), squeeze=False)[0], systems, strict=True
    ):
        told = lines_of(table, system, STATE, REFERENCE)["theta_ranks"].dropna()
        if len(told):
            counts = np.array([str(ranks).split() for ranks in told], float).sum(0)
            share, width = counts / counts.sum(), 1 / len(counts)
            alone = counts.sum() / len(told)  # seeds share trajectories
            band = 2.58 * np.sqrt(width * (1 - width) / alone)
            axis.bar((np.arange(len(counts)) + 0.5) * width, share, 0.9 * width, color="#0b6e99")
            axis.axhspan(width - band, width + band, color="#bbbbbb", alpha=0.4)
        axis.set(title=system, xlabel="rank of true θ")
    figure.axes[0].set_ylabel("share")
    return figure


def ablations(table: pd.DataFrame) -> Figure:
    """MSE of VGB-DM, with preset inputs, and less its parts, a point a seed."""
    systems = [s for s in ABLATED if s in set(table["system"])] or ["nothing"]
    rows = [n for n, row in TRAINED.items() if row.like and n in set(table["row"])]
    shown = [(REFERENCE, PRESET), (REFERENCE, STATE), *((row, STATE) for row in rows)]
    names = [
        f"{row.replace('_', ' ')}{', preset inputs' if i == PRESET else ''}" for row, i in shown
    ]
    figure = Figure(figsize=(3.6 * len(systems), 2.4))
    for axis, system in zip(
        figure.subplots(1, len(systems), squeeze=False)[0], systems, strict=True
    ):
        for place, (row, inputs) in enumerate(shown):
            lines = table[(table["system"] == system) & (table["row"] == row)]
            errors = lines[lines["inputs"] == inputs]["mse"].astype(float)
            errors = errors[np.isfinite(errors)]
            if len(errors):
                axis.barh(place, errors.mean(), color="#9cc3d5")
                axis.plot(errors, [place] * len(errors), ".", color="#0b6e99", markersize=4)
        axis.set(title=system, xlabel="forecast MSE", xscale="log")
        axis.set_yticks(range(len(names)), names if axis is figure.axes[0] else [""] * len(names))
        axis.set_ylim(len(names) - 0.5, -0.5)
    return figure
