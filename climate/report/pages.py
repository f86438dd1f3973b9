"""Self-contained pages: a forecast's skill, spectra, ranks, maps; and two forecasts compared."""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from climate.conventions.wording import date
from climate.forecasts.reading import Forecast, open_forecast
from climate.report import figures
from climate.store.layout import TrainingStore
from climate.store.mask import in_one_line, store_lines
from climate.verification.comparison import Comparison
from climate.verification.published import html_beside
from climate.verification.scorecard import Verification
from climate.verification.table import ScoreTable
from vgbdm.report.page import image, write_page


def write_report(
    result: Verification,
    forecast: Forecast,
    store: TrainingStore,
    out: Path,
    run_dir: str | Path | None,
) -> Path:
    """Write ``report.html`` and return its path.

    Args:
        result: from `climate.verification.scorecard.score`.
        forecast: that was scored; of several that are pooled one, whose maps are shown.
        store: its truth.
        out: folder.
        run_dir: of the training; its curves and config are shown.
    """
    units = _units(store)
    scorecard, start, end = result.scorecard, *store.splits["test"]
    parts = [
        "<h1>Forecast scorecard</h1>",
        f"<p class=quiet>{_title(store)}<br>test period {start} to {end}, "
        f"{scorecard['n_starts'].max()} starts, trained on {_trained_on(forecast, store)}</p>",
        _notice(store),
        _outside(forecast),
        _given(result.rules),
        _pooled(result.rules),
        _masked(forecast.masked(store)),
        "<h2>Skill against lead time</h2>",
        image(figures.skill_curves(scorecard, units)),
        "<p class=quiet>Latitude-weighted. Bands: intervals, as below; where there are none, "
        "nothing is claimed of a difference.</p>",
        "<h2>Scores</h2>",
        *(_table(scorecard, name, units[name]) for name in forecast.scored(store).values()),
        "<h2>Beside published scores</h2>",
        *html_beside(scorecard, forecast, store),
    ]
    if len(result.ranks):
        parts += ["<h2>Rank histograms</h2>", image(figures.rank_histograms(result.ranks))]
    if len(result.spectra):
        parts += [
            "<h2>Zonal energy spectra</h2>",
            image(figures.spectra(result.spectra, units)),
        ]
    parts += ["<h2>One forecast</h2>", *_maps(forecast, store, units), *_rules(result.rules)]
    if run_dir is not None:
        parts += _training(Path(run_dir))
    return write_page(out / "report.html", "Forecast scorecard", parts)


def write_comparison(
    comparison: Comparison, names: tuple[str, str], store: TrainingStore, out: Path
) -> Path:
    """Write ``report.html`` of two forecasts compared and return its path.

    Args:
        comparison: from `climate.verification.comparison.compare`.
        names: of the forecasts.
        store: of their truth.
        out: folder.
    """
    units, table = _units(store), comparison.table
    count = table["n_starts"].iloc[0]
    a, b = (html.escape(name) for name in names)
    parts = [
        "<h1>Two forecasts compared</h1>",
        f"<p class=quiet>{_title(store)}<br>a: {a}<br>b: {b}<br>"
        f"{count} common starts, {comparison.first} to {comparison.last}</p>",
        _notice(store),
        _masked(in_one_line(store_lines(store))),
        "<h2>Differences, a - b</h2>",
        image(figures.difference_curves(table, units)),
        "<p class=quiet>Below 0, a has the smaller RMSE and CRPS, and the lower correlation. "
        f"Intervals: {html.escape(comparison.rule)}, the same draws for both. "
        f"Anomalies are from climatology: {html.escape(comparison.climatology)}.</p>",
        "<h2>Numbers</h2>",
        *(_differences(table, name, units[name]) for name in table["variable"].unique()),
    ]
    return write_page(out / "report.html", "Two forecasts compared", parts)


def _units(store: TrainingStore) -> dict[str, str]:
    return {name: store.channel_attrs[name]["units"] for name in store.channels}


def _title(store: TrainingStore) -> str:
    return html.escape(
        str(store.provenance.get("title", store.provenance.get("source", "weather")))
    )


def _notice(store: TrainingStore) -> str:
    comment = store.provenance.get("comment")
    return f"<p class=note>{html.escape(str(comment))}</p>" if comment else ""


def _trained_on(forecast: Forecast, store: TrainingStore) -> str:
    """The training period: as the forecast records it, else the store's."""
    period = str(forecast.dataset.attrs.get("training_period", "")).split("/")
    return html.escape(" to ".join(period if len(period) == 2 else map(str, store.splits["train"])))


def _outside(forecast: Forecast) -> str:
    line = forecast.outside_training
    return f"<p class=note>Outside of training: {html.escape(line)}</p>" if line else ""


def _given(rules: dict[str, str]) -> str:
    """A note on a forecast that was given truth; nothing of any other."""
    line = rules.get("given_truth")
    return f"<p class=note>Given of the truth: {html.escape(line)}</p>" if line else ""


def _pooled(rules: dict[str, str]) -> str:
    """A note on several periods; nothing of one."""
    line = rules.get("periods")
    return f"<p class=note>Periods {html.escape(line)}.</p>" if line else ""


def _masked(line: str) -> str:
    """A note on masked variables; nothing where there are none."""
    return f"<p class=note>Grey on the maps: {html.escape(line)}.</p>" if line else ""


def _table(scorecard: pd.DataFrame, variable: str, units: str) -> str:
    """RMSE, ACC and, of distributions, CRPS and spread/skill, a line per row."""
    block = scorecard[scorecard["variable"] == variable]
    hours = sorted(block["lead_hours"].unique())
    lines = []
    for row, values in block.groupby("row", sort=False):
        cells = values.set_index("lead_hours").loc[hours]
        numbers = zip(cells["rmse_root_of_mean"], cells["acc"], strict=True)
        lines.append(_line(str(row), str(row), numbers))
        if cells["spread_skill"].notna().all():
            numbers = zip(cells["crps"], cells["spread_skill"], strict=True)
            lines.append(_line("crps", f"{row}: CRPS", numbers))
    head = "".join(f"<th>{hour} h</th>" for hour in hours)
    return (
        f"<p><b>{html.escape(variable)}</b>, RMSE in {html.escape(units)} (root of the mean), "
        "<span class=quiet>ACC; where there is a distribution CRPS, spread/skill</span></p>"
        f"<table><tr><th></th>{head}</tr>{''.join(lines)}</table>"
    )


def _line(kind: str, name: str, numbers: Iterable[tuple[float, float]]) -> str:
    cells = "".join(
        f"<td>{first:.4g}{'' if np.isnan(second) else f' <span class=quiet>{second:.2f}</span>'}"
        "</td>"
        for first, second in numbers
    )
    shown = html.escape(name.replace("_", " "))
    return f"<tr class={html.escape(kind)}><td>{shown}</td>{cells}</tr>"


def _differences(table: pd.DataFrame, variable: str, units: str) -> str:
    block = table[table["variable"] == variable]
    hours = sorted(block["lead_hours"].unique())
    head = "".join(f"<th>{hour} h</th>" for hour in hours)
    lines = []
    for score, values in block.groupby("score", sort=False):
        cells = values.set_index("lead_hours").loc[hours]
        ends = zip(*(cells[name] for name in ("difference", "low", "high", "better")), strict=True)
        text = "".join(f"<td>{_difference(*values)}</td>" for values in ends)
        lines.append(f"<tr><td>{html.escape(str(score).replace('_', ' '))}</td>{text}</tr>")
    return (
        f"<p><b>{html.escape(variable)}</b>, a - b in {html.escape(units)} "
        "<span class=quiet>(mse: its square; bold: the interval leaves out 0)</span></p>"
        f"<table><tr><th></th>{head}</tr>{''.join(lines)}</table>"
    )


def _difference(value: float, low: float, high: float, better: str) -> str:
    shown = f"<b>{value:.3g}</b>" if better else f"{value:.3g}"
    ends = "" if np.isnan(low) else f"<br><span class=quiet>{low:.3g} … {high:.3g}</span>"
    return shown + ends


def _maps(forecast: Forecast, store: TrainingStore, units: dict[str, str]) -> list[str]:
    """The middle start at the lead nearest to a day: forecast, truth, error; spread, members."""
    k, hours = len(forecast.starts) // 2, np.array(forecast.hours)
    lead = int(np.abs(hours - 24).argmin())
    start, area = int(forecast.starts[k]), forecast.area
    ahead = np.array([(lead + 1) * store.stride(forecast.step)])
    index = int(store.frames(forecast.starts[k : k + 1], ahead)[0, 0])
    truth = area.cut(store.read(index, index + 1)[0])
    land = area.cut(store.static["lsm"]) if "lsm" in store.static else None
    parts = [f"<p class=quiet>From {date(store.times[start])}, {hours[lead]} h ahead.</p>"]
    for c, name in forecast.scored(store).items():
        members = forecast.read(slice(k, k + 1), slice(lead, lead + 1), name)[0, :, 0]
        kept = forecast.area_of(store, c).kept
        if kept is not None:  # a foreign forecast may have numbers there
            members = np.where(kept, members, np.float32(np.nan))
        mean = members.mean(0)
        kind = "forecast" if len(members) == 1 else f"mean of {len(members)}"
        panels = [
            figures.Panel(f"{name}, {kind}", mean),
            figures.Panel("truth", truth[c]),
            figures.Panel("error of it", mean - truth[c], "difference"),
        ]
        if len(members) > 1:
            spread = members.std(0, ddof=1)
            panels.append(figures.Panel("standard deviation of members", spread, "spread"))
            panels += [figures.Panel(f"member {m}", members[m]) for m in (0, 1)]
        parts.append(image(figures.maps(panels, area, land, units[name])))
    return parts


def _rules(rules: dict[str, str]) -> list[str]:
    lines = "".join(
        f"<tr><td>{html.escape(name.replace('_', ' '))}</td>"
        f"<td style='text-align:left'>{html.escape(rule)}</td></tr>"
        for name, rule in rules.items()
    )
    return ["<h2>How each row and number is made</h2>", f"<table>{lines}</table>"]


def _training(run_dir: Path) -> list[str]:
    parts = []
    curves = figures.training_curves(run_dir)
    if curves:
        parts += ["<h2>Training</h2>", image(curves)]
    config = run_dir / "config.json"
    if config.exists():
        parts += ["<h2>Configuration</h2>", f"<pre>{html.escape(config.read_text())}</pre>"]
    return parts


def write_table_report(table: ScoreTable, store: TrainingStore, out: Path, command: str) -> Path:
    """Write ``report.html`` of many runs and return its path; pictures are of the first seed.

    Args:
        table: from `climate.verification.table.collect`.
        store: that they were scored on.
        out: folder.
        command: that made it.
    """
    units, first = _units(store), min(seed for _, seed in table.runs)
    cards: list[pd.DataFrame] = []
    pictures: list[str] = []
    for row in table.rows:
        place = table.runs[row, first]
        card = pd.read_csv(place / "scores" / "scorecard.csv")
        kept = card["row"] == "model" if cards else card["row"] != "model_dressed"
        cards.append(card[kept].replace({"row": {"model": row}}))
        pictures += _pictures(row, place, store, units)
    parts = [
        "<h1>Weather models under one budget</h1>",
        f"<p class=quiet>{_title(store)}<br>{html.escape(command)}</p>",
        _notice(store),
        "<h2>Skill against lead time</h2>",
        image(figures.skill_curves(pd.concat(cards), units)),
        f"<p class=quiet>Seed {first}; bands are bootstrap intervals over starts.</p>",
        "<h2>Scores, mean over seeds</h2>",
        table.scores.to_html(index=False, float_format=lambda v: f"{v:.4g}", border=0, na_rep="–"),
        f"<h2>RMSE of {html.escape(table.rows[0])} less that of the other, paired</h2>",
        table.differences.to_html(index=False, float_format=lambda v: f"{v:.3g}", border=0),
        *pictures,
    ]
    return write_page(out / "report.html", "Weather models", parts)


def _pictures(row: str, place: Path, store: TrainingStore, units: dict[str, str]) -> list[str]:
    """Spectra, ranks, maps and the Courant number of one run."""
    parts = [f"<h2>{html.escape(row)}</h2>"]
    spectra, ranks = (place / "scores" / f"{name}.csv" for name in ("spectra", "ranks"))
    if spectra.exists():
        parts.append(image(figures.spectra(pd.read_csv(spectra), units)))
    if ranks.exists():
        parts.append(image(figures.rank_histograms(pd.read_csv(ranks))))
    parts += _maps(open_forecast(place / "test", store), store, units)
    courant = figures.courant(place / "run" / "log.csv")
    return parts + ([image(courant)] if courant else [])
