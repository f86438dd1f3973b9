"""One self-contained page: skill, maps, training, configuration."""

from __future__ import annotations

import html
from pathlib import Path

import numpy as np
import pandas as pd

from climate import figures
from climate.store.layout import TrainingStore
from climate.verification.scorecard import Forecast
from vgbdm.page import image, write_page


def write_report(
    scorecard: pd.DataFrame,
    forecast: Forecast,
    store: TrainingStore,
    out: Path,
    run_dir: str | Path | None,
) -> Path:
    """Write ``report.html`` and return its path.

    Args:
        scorecard: from `climate.verification.scorecard.score`.
        forecast: that was scored.
        store: its truth.
        out: folder.
        run_dir: of the training; its curves and config are shown.
    """
    units = {name: store.channel_attrs[name]["units"] for name in store.channels}
    title = str(store.provenance.get("title", store.provenance.get("source", "weather")))
    start, end = store.splits["test"]
    parts = [
        "<h1>Forecast scorecard</h1>",
        f"<p class=quiet>{html.escape(title)}<br>test period {start} to {end}, "
        f"{len(forecast.starts)} starts, trained on {store.splits['train'][0]} to "
        f"{store.splits['train'][1]}</p>",
        _notice(store),
        "<h2>Skill against lead time</h2>",
        image(figures.skill_curves(scorecard, units)),
        f"<p class=quiet>Latitude-weighted. Climatology: {store.climatology.rule}. Damped "
        "persistence: fitted per variable and lead on the training period.</p>",
        "<h2>Scores</h2>",
        *(_table(scorecard, name, units[name]) for name in store.channels),
        "<h2>One forecast</h2>",
        *_maps(forecast, store, units),
    ]
    if run_dir is not None:
        parts += _training(Path(run_dir))
    return write_page(out / "report.html", "Forecast scorecard", parts)


def _notice(store: TrainingStore) -> str:
    comment = store.provenance.get("comment")
    return f"<p class=note>{html.escape(str(comment))}</p>" if comment else ""


def _table(scorecard: pd.DataFrame, variable: str, units: str) -> str:
    block = scorecard[scorecard["variable"] == variable]
    hours = sorted(block["lead_hours"].unique())
    head = "".join(f"<th>{hour} h</th>" for hour in hours)
    lines = []
    for row, values in block.groupby("row", sort=False):
        cells = values.set_index("lead_hours").loc[hours]
        text = "".join(
            f"<td>{rmse:.4g}{'' if np.isnan(acc) else f' <span class=quiet>{acc:.2f}</span>'}</td>"
            for rmse, acc in zip(cells["rmse_root_of_mean"], cells["acc"], strict=True)
        )
        name = html.escape(str(row).replace("_", " "))
        lines.append(f"<tr class={html.escape(str(row))}><td>{name}</td>{text}</tr>")
    caption = f"<b>{html.escape(variable)}</b>, RMSE in {html.escape(units)} (root of the mean), "
    return (
        f"<p>{caption}<span class=quiet>ACC</span></p>"
        f"<table><tr><th></th>{head}</tr>{''.join(lines)}</table>"
    )


def _maps(forecast: Forecast, store: TrainingStore, units: dict[str, str]) -> list[str]:
    """Forecast, truth and error of the middle start at the lead nearest to a day."""
    k, hours = len(forecast.starts) // 2, np.array(forecast.hours)
    lead = int(np.abs(hours - 24).argmin())
    start = int(forecast.starts[k])
    index = start + (lead + 1) * store.stride(forecast.step)
    truth = store.read(index, index + 1)[0]
    predicted = forecast.read(k, k + 1, store.channels)[0, lead]
    land = store.static.get("lsm")
    parts = [f"<p class=quiet>From {store.times[start]}, {hours[lead]} h ahead.</p>"]
    for c, name in enumerate(store.channels):
        panels = {
            f"{name}, forecast": predicted[c],
            "truth": truth[c],
            "error": predicted[c] - truth[c],
        }
        parts.append(image(figures.maps(panels, store.lat, store.lon, land, units[name])))
    return parts


def _training(run_dir: Path) -> list[str]:
    parts = []
    curves = figures.training_curves(run_dir)
    if curves:
        parts += ["<h2>Training</h2>", image(curves)]
    config = run_dir / "config.json"
    if config.exists():
        parts += ["<h2>Configuration</h2>", f"<pre>{html.escape(config.read_text())}</pre>"]
    return parts
