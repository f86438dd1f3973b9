"""Self-contained pages: a forecast's skill, spectra, ranks, maps; and two forecasts compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from climate.conventions.wording import date
from climate.forecasts.reading import Forecast, open_forecast
from climate.report import figures, tables
from climate.store.layout import TrainingStore
from climate.store.mask import in_one_line, store_lines
from climate.verification.comparison import Comparison
from climate.verification.scorecard import Verification
from climate.verification.table import ScoreTable
from vgbdm.report.page import write_page
from vgbdm.report.parts import Folded, Page, Part, Picture, Section, Text, table_of


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
        forecast: that was scored.
        store: its truth.
        out: folder.
        run_dir: of the training; its curves and config are shown.
    """
    units = _units(store)
    scorecard, start, end = result.scorecard, *store.splits["test"]
    sections = [
        Section(
            "Skill against lead time",
            [
                Picture(figures.skill_curves(scorecard, units), "Scores against lead time"),
                Text(BANDS, "quiet"),
            ],
        ),
        Section("Scores", tables.scores(scorecard, units)),
        Section("Beside published scores", tables.beside(scorecard, forecast, store)),
    ]
    if len(result.ranks):
        ranks = Picture(figures.rank_histograms(result.ranks), "Rank histograms")
        sections.append(Section("Rank histograms", [ranks]))
    if len(result.spectra):
        spectra = Picture(figures.spectra(result.spectra, units), "Zonal energy spectra")
        sections.append(Section("Zonal energy spectra", [spectra]))
    sections += [
        Section("One forecast", _maps(forecast, store, units)),
        Section("How each row and number is made", [tables.rules(result.rules)]),
        *_training(run_dir),
    ]
    about = [
        _title(store),
        f"test period {start} to {end}, {len(forecast.starts)} starts, "
        f"trained on {_trained_on(forecast, store)}",
    ]
    notes = [
        _notice(store),
        _said("Outside of training: ", forecast.outside_training),
        _said("Given of the truth: ", result.rules.get("given_truth")),
        _said("Grey on the maps: ", forecast.masked(store)),
    ]
    page = Page("Forecast scorecard", sections, about=about, notes=notes)
    return write_page(out / "report.html", page)


BANDS = (
    "Latitude-weighted. Bands: intervals, as below; where there are none, nothing is claimed of a "
    "difference."
)


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
    about = [
        _title(store),
        f"a: {names[0]}",
        f"b: {names[1]}",
        f"{table['n_starts'].iloc[0]} common starts, {comparison.first} to {comparison.last}",
    ]
    words = (
        "Below 0, a has the smaller RMSE and CRPS, and the lower correlation. Intervals: "
        f"{comparison.rule}, the same draws for both. "
        f"Anomalies are from climatology: {comparison.climatology}."
    )
    picture = Picture(figures.difference_curves(table, units), "Differences of scores")
    sections = [
        Section("Differences, a - b", [picture, Text(words, "quiet")]),
        Section("Numbers", tables.differences(table, units)),
    ]
    notes = [_notice(store), _said("Grey on the maps: ", in_one_line(store_lines(store)))]
    page = Page("Two forecasts compared", sections, about=about, notes=notes)
    return write_page(out / "report.html", page)


def _units(store: TrainingStore) -> dict[str, str]:
    return {name: store.channel_attrs[name]["units"] for name in store.channels}


def _title(store: TrainingStore) -> str:
    return str(store.provenance.get("title", store.provenance.get("source", "weather")))


def _notice(store: TrainingStore) -> str:
    return str(store.provenance.get("comment") or "")


def _trained_on(forecast: Forecast, store: TrainingStore) -> str:
    """The training period: as the forecast records it, else the store's."""
    period = str(forecast.dataset.attrs.get("training_period", "")).split("/")
    return " to ".join(period if len(period) == 2 else map(str, store.splits["train"]))


def _said(title: str, line: str | None) -> str:
    """A note, or nothing where there is nothing to say."""
    return f"{title}{line}" if line else ""


def _maps(forecast: Forecast, store: TrainingStore, units: dict[str, str]) -> list[Part]:
    """The middle start at the lead nearest to a day: forecast, truth, error; spread, members."""
    k, hours = len(forecast.starts) // 2, np.array(forecast.hours)
    lead = int(np.abs(hours - 24).argmin())
    start, area = int(forecast.starts[k]), forecast.area
    ahead = np.array([(lead + 1) * store.stride(forecast.step)])
    index = int(store.frames(forecast.starts[k : k + 1], ahead)[0, 0])
    truth = area.cut(store.read(index, index + 1)[0])
    land = area.cut(store.static["lsm"]) if "lsm" in store.static else None
    parts: list[Part] = [Text(f"From {date(store.times[start])}, {hours[lead]} h ahead.", "quiet")]
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
        picture = figures.maps(panels, area, land, units[name])
        parts.append(Picture(picture, f"Maps of {name}"))
    return parts


def _training(run_dir: str | Path | None) -> list[Section]:
    """Curves and configuration of a run, as far as it left them."""
    if run_dir is None:
        return []
    curves, config = figures.training_curves(Path(run_dir)), Path(run_dir) / "config.json"
    sections = []
    if curves:
        sections.append(Section("Training", [Picture(curves, "Loss and validation score")]))
    if config.exists():
        folded = Folded("config.json of the run", config.read_text())
        sections.append(Section("Configuration", [folded]))
    return sections


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
    pictures: list[Section] = []
    for row in table.rows:
        place = table.runs[row, first]
        card = pd.read_csv(place / "scores" / "scorecard.csv")
        kept = card["row"] == "model" if cards else card["row"] != "model_dressed"
        cards.append(card[kept].replace({"row": {"model": row}}))
        pictures.append(Section(row, _pictures(place, store, units)))
    curves = Picture(figures.skill_curves(pd.concat(cards), units), "Scores against lead time")
    bands = Text(f"Seed {first}; bands are bootstrap intervals over starts.", "quiet")
    scores = table_of(table.scores, "Mean over seeds", 4)
    paired = table_of(table.differences, f"RMSE of {table.rows[0]} less that of the other")
    sections = [
        Section("Skill against lead time", [curves, bands]),
        Section("Scores, mean over seeds", [scores]),
        Section(f"RMSE of {table.rows[0]} less that of the other, paired", [paired]),
        *pictures,
    ]
    about, notes = [_title(store), command], [_notice(store)]
    page = Page("Weather models under one budget", sections, about=about, notes=notes)
    return write_page(out / "report.html", page)


def _pictures(place: Path, store: TrainingStore, units: dict[str, str]) -> list[Part]:
    """Spectra, ranks, maps and the Courant number of one run."""
    parts: list[Part] = []
    spectra, ranks = (place / "scores" / f"{name}.csv" for name in ("spectra", "ranks"))
    if spectra.exists():
        parts.append(Picture(figures.spectra(pd.read_csv(spectra), units), "Zonal energy spectra"))
    if ranks.exists():
        parts.append(Picture(figures.rank_histograms(pd.read_csv(ranks)), "Rank histograms"))
    parts += _maps(open_forecast(place / "test", store), store, units)
    courant = figures.courant(place / "run" / "log.csv")
    return parts + ([Picture(courant, "Courant number against step")] if courant else [])
