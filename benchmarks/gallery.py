"""The figures of README and documentation, none of them drawn by hand: `make gallery`.

python benchmarks/gallery.py [minutes=1] [trajectories=1000] [steps=600] [weather=demo]
    [runs=demo-gallery] [out=docs/_static/gallery] [pages=true]

Trains VGB-DM on each system for some minutes that one thread has computed, and RLC at several λ
for some steps; takes the weather demo from where `make demo` left it. Figures go to ``out``, with
``gallery.json``, which says what each one shows and its numbers; README and documentation are
written anew from it. What is finished in ``runs`` is not trained again.
"""

from __future__ import annotations

import datetime
import io
import logging
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))  # run by itself

import gallery_figures as figures  # noqa: E402
import gallery_runs as runs  # noqa: E402
import torch  # noqa: E402
from gallery_pages import FOLDER, TOLD, WORDS, pages, write_pages  # noqa: E402
from gallery_runs import Length, Scored  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from PIL import Image  # noqa: E402
from systems_table import here  # noqa: E402

from climate.report.figures import score_curves  # noqa: E402
from physics_systems.evaluation.calibration import (  # noqa: E402
    coverage_curve,
    rank_counts,
    rank_histogram,
    ranks_of,
)
from vgbdm.report.page import draw  # noqa: E402
from vgbdm.storage.files import write_bytes, write_json  # noqa: E402

MOST_BYTES = 150_000
"""Of a figure."""
QUALITIES = (90, 80, 60)
OPTIONS = {"minutes": "1", "trajectories": "1000", "steps": "600", "weather": "demo",
           "runs": "demo-gallery", "out": str(FOLDER), "pages": "true"}  # fmt: skip


class Made(NamedTuple):
    """A figure, and what it is.

    Attributes:
        name: of it.
        picture: PNG.
        numbers: for its caption.
    """

    name: str
    picture: bytes
    numbers: dict[str, Any]


def small(picture: bytes) -> bytes:
    """A PNG as WebP on white, without loss where that is small enough.

    Raises:
        ValueError: if it is too large in any quality.
    """
    drawn = Image.open(io.BytesIO(picture)).convert("RGB")
    tries: list[dict[str, Any]] = [{"lossless": True}, *({"quality": q} for q in QUALITIES)]
    for told in tries:
        buffer = io.BytesIO()
        drawn.save(buffer, "WEBP", method=6, **told)
        if buffer.tell() <= MOST_BYTES:
            return buffer.getvalue()
    raise ValueError(f"a picture of {buffer.tell()} bytes; {MOST_BYTES} are allowed")


def drawn(name: str, numbers: dict[str, Any], make: Callable[[], Figure]) -> Made:
    """A figure in the style of the reports."""
    return Made(name, draw(make), numbers)


def make_all(length: Length, demo: Path, folder: Path) -> Iterator[Made]:
    """Every figure, one after the other; what is slow comes last.

    Args:
        length: of trainings.
        demo: folder of the weather demo.
        folder: of stores and runs.
    """
    yield of_paths()
    shown, about = runs.weather_of(demo)
    curves = score_curves(runs.scorecard_of(demo), "rmse_root_of_mean", runs.units_of(demo))
    yield Made("weather", curves, about)
    made = {name: runs.scored(name, length, folder) for name in runs.SYSTEMS}
    for name, own in made.items():
        yield of_system(name, own)
    lorenz = made["lorenz"]
    ensemble = runs.ensemble_of(lorenz)
    yield drawn("readme", {}, lambda: figures.readme(shown, ensemble))
    yield of_calibration(lorenz)
    yield of_gauge(length, folder)


def of_paths() -> Made:
    """Paths through the same frames."""
    found = runs.paths_of()
    gap = float(found.frame_times[1] - found.frame_times[0])
    numbers = {"gap": gap, "errors": runs.rate_errors(found)}
    return drawn("paths", numbers, lambda: figures.paths(found))


def of_system(name: str, made: Scored) -> Made:
    """A system's forecasts and θ."""

    def make() -> Figure:
        return figures.system(made.physics, made.test, made.row, made.window)

    return drawn(name, made.numbers, make)


def of_calibration(made: Scored) -> Made:
    """Ranks of θ, and coverage of θ and of forecasts."""
    draws, truth, counts = (
        made.row.forecasts.theta_draws,
        made.test.parameters,
        made.row.rank_counts,
    )
    assert draws is not None and truth is not None and counts is not None
    names = tuple(made.physics.prior)
    histograms = {
        name: rank_histogram(ranks_of([draws[:, :, place]], truth[name]), len(draws))
        for place, name in enumerate(names)
    }
    true = torch.stack([truth[name] for name in names], 1)
    curves = {
        "forecast": coverage_curve(counts),
        "θ": coverage_curve(rank_counts(draws.double(), true)),
    }
    even = {name: found.p_value for name, found in histograms.items()}
    return drawn("calibration", {"p": even}, lambda: figures.calibration(histograms, curves))


def of_gauge(length: Length, folder: Path) -> Made:
    """What λ does."""
    table, chosen, tolerance = runs.sweep(length, folder)
    error = table.set_index("gauge")["theta_error"]
    numbers = {
        "steps": length.steps, "chosen": chosen, "most": 1 + tolerance,
        "ratios": dict(zip(map(str, table["gauge"]), table["ratio"], strict=True)),
        "theta_error": float(error[chosen]), "theta_error_without": float(error[0.0]),
    }  # fmt: skip
    return drawn("gauge", numbers, lambda: figures.gauge(table, chosen, tolerance))


def write(made: Iterator[Made], out: Path, command: str) -> dict[str, Any]:
    """Write figures, and what is told of them once all are there; others are removed.

    Args:
        made: all of them.
        out: folder.
        command: that makes them.

    Returns:
        What ``gallery.json`` says.
    """
    out.mkdir(parents=True, exist_ok=True)
    told: dict[str, Any] = {}
    for figure in made:
        write_bytes(out / f"{figure.name}.webp", small(figure.picture))
        told[figure.name] = {"file": f"{figure.name}.webp", "numbers": figure.numbers}
    for path in out.glob("*.webp"):
        if path.stem not in told:
            path.unlink()
    order = {name: told[name] for name in WORDS if name in told}
    today = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    said = {"command": command, **here(), "date": today, "figures": order}
    write_json(out / TOLD, said)
    return said


def main(arguments: list[str]) -> str | None:
    """Make the gallery; what to exit with."""
    given = dict(own.partition("=")[::2] for own in arguments)
    if strange := given.keys() - OPTIONS.keys():
        return f"{', '.join(sorted(strange))}: no such option\n\n{__doc__}"
    told = OPTIONS | given
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    length = Length(float(told["minutes"]), int(told["trajectories"]), int(told["steps"]))
    made = make_all(length, Path(told["weather"]), Path(told["runs"]))
    command = shlex.join(["python", "benchmarks/gallery.py", *arguments])
    said = write(made, Path(told["out"]), command)
    if told["pages"] == "true":
        write_pages(said, pages())
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
