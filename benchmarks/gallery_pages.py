"""Figures of the gallery on the pages: image, what it shows, and the numbers that were measured.

python benchmarks/gallery_pages.py

Writes between the marks ``<!-- gallery NAME -->`` of README and documentation what
``docs/_static/gallery/gallery.json`` says. Numbers stand there alone; words stand here.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tables import write_between_marks

from vgbdm.storage.files import read_json

REPO = Path(__file__).resolve().parent.parent
FOLDER = REPO / "docs" / "_static" / "gallery"
TOLD = "gallery.json"
MARK = re.compile(r"<!-- gallery (\w+) -->")
ORIGIN = "origin"
"""Of the block that says where all figures come from."""


class Words(NamedTuple):
    """What is said of a figure; braces stand for its numbers.

    Attributes:
        alt: for those who do not see it.
        caption: below it.
    """

    alt: str
    caption: str


OF_SYSTEM = (
    "Known: {known}. Trained for {train_seconds:.0f} s of one thread ({steps} steps) on "
    "trajectories whose parameters are drawn from the prior. Of {n} test trajectories the median "
    "MSE is {forecast_mse_median:.2g} and the mean {forecast_mse:.2g}; 90 % intervals hold "
    "{forecast_coverage_90:.2f} of the forecast values and {theta_coverage_90:.2f} of the true "
    "parameters."
)
LINES = Words(
    "Curves of the trajectories of median and of largest error over time: the truth, the forecast "
    "after {window} frames and a band of 90 % of {members} members. To the right, inferred against "
    "true parameters of {n} trajectories, with intervals, about the diagonal.",
    OF_SYSTEM,
)
KNOWN = {
    "rlc": "the circuit without its resistance",
    "pendulum": "the pendulum without friction; only its angle is seen",
    "reaction_diffusion": "diffusion of both fields and the reaction of V",
    "lorenz": "all but the term X (ρ - Z)",
}
WORDS = {
    "readme": Words(
        "Left, three maps of the globe: {weather[variable]} as it is forecast {weather[hours]} h "
        "ahead, the truth, and the error. Right, X, Y and Z of a Lorenz trajectory over time: the "
        "frames that are given, then {lorenz[members]} members of the forecast about the truth.",
        "Left: {weather[variable]}, a day ahead, on {data}. Right: Lorenz, of {lorenz[n]} "
        "trajectories that of median error, after {lorenz[train_seconds]:.0f} s of training.",
    ),
    "weather": Words(
        "Curves of the RMSE of each variable against lead time: of the model and of rows that need "
        "no training.",
        "Weather on {data}: RMSE over {starts} starts against lead time. At {hours} h the error of "
        "{variable} is {rmse[model]:.2f} {units}, that of persistence {rmse[persistence]:.2f}. "
        "Trained for {steps} steps; {title}.",
    ),
    "rlc": LINES,
    "pendulum": LINES,
    "lorenz": LINES,
    "reaction_diffusion": Words(
        "Fields U and V at the last frame of the trajectory of median error: forecast, truth, "
        "error and the spread of {members} members. Below, inferred against true a and b of {n} "
        "trajectories, with intervals, about the diagonal.",
        OF_SYSTEM,
    ),
    "paths": Words(
        "Left, Y of a Lorenz trajectory over time: frames, the truth, and the paths linear, "
        "lagrange3, hermite and bridge through them; right, the rates dY/dt of the same.",
        "Paths through the same frames of Lorenz, {gap:.3f} apart. Error of the rates, relative to "
        "their rms: linear {errors[linear]:.2f}, lagrange3 {errors[lagrange3]:.2f}, hermite "
        "{errors[hermite]:.2f}, and bridge, each point a draw, {errors[bridge]:.2f}.",
    ),
    "gauge": Words(
        "Left, validation error relative to that of λ = 0 against λ, with the range that the rule "
        "allows; right, the errors of L and C against λ.",
        "λ on RLC whose network sees the whole state, {steps} steps each, one seed. The rule takes "
        "λ = {chosen:g}, the largest whose validation error is at most {most:g} times that of "
        "λ = 0; no θ is read for it. Error of θ there {theta_error:.2g}, without λ "
        "{theta_error_without:.2g}.",
    ),
    "calibration": Words(
        "Histograms of the ranks of the true σ and β among their posterior draws, with the band of "
        "even ranks; and the share of truths that intervals hold against their level, of forecasts "
        "and of θ, beside the diagonal.",
        "Calibration of Lorenz after {lorenz[steps]} steps, on {lorenz[n]} trajectories of the "
        "prior, {lorenz[members]} draws each: 90 % intervals hold "
        "{lorenz[theta_coverage_90]:.2f} of the true parameters and "
        "{lorenz[forecast_coverage_90]:.2f} of the forecast values. That ranks are even has "
        "p = {p[sigma]:.2g} (σ) and {p[beta]:.2g} (β).",
    ),
}
STANDIN = "the made-up atmosphere of `make demo`, which says nothing of skill on the real one"


def image(name: str, told: Mapping[str, Any], page: Path, folder: Path = FOLDER) -> str:
    """A figure as Markdown of a page, its caption below it; numbers of other figures by their name.

    Args:
        name: of the figure, or `ORIGIN`.
        told: what ``gallery.json`` says.
        page: it is for.
        folder: of the figures.
    """
    if name == ORIGIN:
        return f"All figures: {origin(told)}."
    own, words = told["figures"][name], WORDS[name]
    numbers: dict[str, Any] = {key: made["numbers"] for key, made in told["figures"].items()}
    weather = numbers["weather"]
    numbers["data"] = STANDIN if weather["standin"] else weather["title"]
    numbers |= {"known": KNOWN.get(name, ""), **own["numbers"]}
    place = os.path.relpath(folder / own["file"], page.parent)
    caption = words.caption.format(**numbers)
    if page.name == "README.md":
        caption += f" {origin(told)[0].upper()}{origin(told)[1:]}."
    return f"![{words.alt.format(**numbers)}]({place})\n\n*{caption}*"


def origin(told: Mapping[str, Any]) -> str:
    """What made the figures, where and when."""
    return (
        f"made by `{told['command']}`, the script of `make gallery`, at {told['commit']} on "
        f"{told['date']}, {told['machine']}"
    )


def pages() -> list[Path]:
    """README and all of the documentation."""
    return [REPO / "README.md", *sorted((REPO / "docs").rglob("*.md"))]


def write_pages(told: Mapping[str, Any], into: Iterable[Path]) -> None:
    """Put figures between their marks."""
    for page in into:
        for name in MARK.findall(page.read_text()):
            write_between_marks(page, f"gallery {name}", image(name, told, page))


if __name__ == "__main__":
    sys.path.insert(0, str(REPO))
    write_pages(read_json(FOLDER / TOLD), pages())
