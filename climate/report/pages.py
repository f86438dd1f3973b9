"""Self-contained pages: a forecast's skill, spectra, ranks, maps; and two forecasts compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from climate.conventions.wording import period
from climate.forecasts.reading import Forecast, open_forecast
from climate.report import figures, tables
from climate.report.example import one_forecast
from climate.report.panels import some_leads
from climate.report.words import RANKS, SPECTRA, curves_alt, headline, named, rank_word
from climate.store.layout import TrainingStore
from climate.store.mask import in_one_line, store_lines
from climate.verification.comparison import Comparison
from climate.verification.scorecard import Verification
from climate.verification.table import ScoreTable
from vgbdm.report.page import write_page
from vgbdm.report.parts import Folded, Page, Part, Picture, Section, Text, table_of
from vgbdm.report.provenance import provenance


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
    units, scorecard = _units(store), result.scorecard
    sections = [
        Section("Skill at a glance", [tables.heat(scorecard)]),
        Section("Skill against lead time", [*_curves(scorecard, units), Text(BANDS, "quiet")]),
        Section("Scores", tables.scores(scorecard, units)),
        Section("Spread and ranks of ensembles", _ensemble(scorecard, result.ranks, units)),
        Section("Zonal energy spectra", _spectra(result.spectra, units)),
        Section("One forecast", one_forecast(forecast, store, units)),
        Section("Beside published scores", tables.beside(scorecard, forecast, store)),
        Section("How each row and number is made", [tables.rules(result.rules)]),
        *_training(run_dir),
    ]
    start, end = store.splits["test"]
    about = [
        _title(store),
        f"test period {period(start, end)}, {_count(int(scorecard['n_starts'].max()), 'start')}, "
        f"trained on {_trained_on(forecast, store)}",
    ]
    notes = [
        _notice(store),
        _said("Outside of training: ", result.rules.get("outside_training")),
        _said("Given of the truth: ", result.rules.get("given_truth")),
        _said("Periods ", result.rules.get("periods")),
        _said("Grey on the maps: ", forecast.masked(store)),
    ]
    said = headline(scorecard, result.rules["intervals"])
    page = Page(
        "Forecast scorecard", sections, said, about, notes, _origin(forecast, store, run_dir)
    )
    return write_page(out / "report.html", page)


BANDS = (
    "Latitude-weighted. Bands: intervals, as below; where there are none, nothing is claimed of a "
    "difference. Whole lines are models, dashed ones rows that need none."
)


def _curves(scorecard: pd.DataFrame, units: dict[str, str]) -> list[Part]:
    """A figure per score that some row has."""
    return [
        Picture(
            figures.score_curves(scorecard, score, units),
            curves_alt(scorecard, score, label, units),
            f"{label} against lead time, one panel per variable.",
        )
        for score, label in figures.SCORE_LABELS.items()
        if scorecard[score].notna().any()
    ]


def _ensemble(scorecard: pd.DataFrame, ranks: pd.DataFrame, units: dict[str, str]) -> list[Part]:
    """Spread beside error, and rank histograms, of all rows that are ensembles."""
    parts: list[Part] = []
    ensembles = scorecard[scorecard["spread_skill"].notna()]
    if len(ensembles):
        last = ensembles[ensembles["lead_hours"] == ensembles["lead_hours"].max()]
        told = []
        for row, block in last.groupby("row", sort=False):
            both = zip(block["variable"], block["spread_skill"], strict=True)
            told.append(f"{named(row)} {', '.join(f'{name} {v:.2f}' for name, v in both)}")
        alt = (
            "Curves of the RMSE of the mean and of the spread of each ensemble against lead time, "
            f"one panel per variable. Spread ÷ RMSE at the last lead: {'; '.join(told)}."
        )
        words = (
            "Spread beside the error of the mean: alike where an ensemble is as wide as it errs."
        )
        parts.append(Picture(figures.spread_and_skill(scorecard, units), alt, words))
    if len(ranks):
        parts += [_ranks(ranks), Text(RANKS, "quiet")]
    return parts


def _ranks(ranks: pd.DataFrame) -> Picture:
    words = []
    for (row, variable), block in ranks.groupby(["row", "variable"], sort=False):
        for lead in some_leads(list(block["lead_hours"])):
            shares = block.loc[block["lead_hours"] == lead, "share"].to_numpy()
            words.append(f"{named(row)}, {variable} at {lead} h {rank_word(shares)}")
    alt = f"Rank histograms, one panel per variable and lead: {'; '.join(words)}."
    return Picture(figures.rank_histograms(ranks), alt, "Ranks of the truth among the members.")


def _spectra(spectra: pd.DataFrame, units: dict[str, str]) -> list[Part]:
    if not len(spectra):
        return []
    waves = spectra[spectra["wavenumber"] == spectra["wavenumber"].max()]
    last = waves[waves["lead_hours"] == waves["lead_hours"].max()]
    table = last.pivot(index="variable", columns="row", values="power")
    shares = (table["model"] / table["truth"].where(table["truth"] > 0)).dropna()
    told = ", ".join(f"{name} {share:.2g}" for name, share in shares.items()) or "not told"
    alt = (
        "Curves of power against zonal wavenumber, logarithmic, of the truth and the model, one "
        "panel per variable and lead. Power of the model over the truth's at the highest "
        f"wavenumber and the last lead: {told}."
    )
    return [Picture(figures.spectra(spectra, units), alt, SPECTRA)]


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
    sections = [
        Section("Differences, a - b", [*_difference_curves(table, units), Text(words, "quiet")]),
        Section("Numbers", tables.differences(table, units)),
    ]
    notes = [_notice(store), _said("Grey on the maps: ", in_one_line(store_lines(store)))]
    said = [_winner(table)]
    origin = provenance({"a": names[0], "b": names[1], "data": f"{_title(store)} ({store.path})"})
    page = Page("Two forecasts compared", sections, said, about, notes, origin)
    return write_page(out / "report.html", page)


def _winner(table: pd.DataFrame) -> str:
    """Of how many variables and leads the intervals of RMSE say that one is better."""
    own = table[table["score"] == "rmse_root_of_mean"]
    if own["low"].isna().all():
        return "No interval, so no claim of a difference."
    a, b = ((own["better"] == name).sum() for name in ("a", "b"))
    return (
        f"Of {len(own)} variables and leads a has the smaller RMSE in {a}, b in {b}, and in "
        f"{len(own) - a - b} the 95 % interval holds 0."
    )


def _difference_curves(table: pd.DataFrame, units: dict[str, str]) -> list[Part]:
    """A figure per score that is compared and shown."""
    parts: list[Part] = []
    for score, label in figures.SCORE_LABELS.items():
        own = table[table["score"] == score]
        if not own["difference"].notna().any():
            continue
        last = own[own["lead_hours"] == own["lead_hours"].max()]
        told = [
            f"{line['variable']} {line['difference']:.3g}"
            + ("" if np.isnan(line["low"]) else f" [{line['low']:.3g}, {line['high']:.3g}]")
            for _, line in last.iterrows()
        ]
        alt = (
            f"Curves of a - b in {label} against lead time, one panel per variable. At the last "
            f"lead: {', '.join(told)}."
        )
        picture = figures.difference_curves(table, score, units)
        parts.append(Picture(picture, alt, f"a - b in {label}, one panel per variable."))
    return parts


def _units(store: TrainingStore) -> dict[str, str]:
    return {name: store.channel_attrs[name]["units"] for name in store.channels}


def _title(store: TrainingStore) -> str:
    return str(store.provenance.get("title", store.provenance.get("source", "weather")))


def _notice(store: TrainingStore) -> str:
    return str(store.provenance.get("comment") or "")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _origin(forecast: Forecast, store: TrainingStore, run_dir: str | Path | None) -> dict[str, str]:
    """Where the numbers come from: run, forecast, data, command, version, date."""
    attributes = forecast.dataset.attrs
    made = [str(attributes[key]) for key in ("source", "software", "history") if key in attributes]
    return provenance(
        {
            "run": "" if run_dir is None else str(run_dir),
            "forecast": str(forecast.path),
            "forecast made": ", ".join(made),
            "data": f"{_title(store)} ({store.path})",
            "data hash": f"statistics {store.statistics.hash}",
        }
    )


def _trained_on(forecast: Forecast, store: TrainingStore) -> str:
    """The training period: as the forecast records it, else the store's."""
    told = str(forecast.dataset.attrs.get("training_period", "")).split("/")
    told = told if len(told) == 2 else [*map(str, store.splits["train"])]
    try:
        first, last = (np.datetime64(end, "s") for end in told)
    except ValueError:  # of a stranger
        return " to ".join(told)
    return period(first, last)


def _said(title: str, line: str | None) -> str:
    """A note, or nothing where there is nothing to say."""
    return f"{title}{line}" if line else ""


def _training(run_dir: str | Path | None) -> list[Section]:
    """Curves and configuration of a run, as far as it left them."""
    if run_dir is None:
        return []
    curves, config = figures.training_curves(Path(run_dir)), Path(run_dir) / "config.json"
    sections = []
    if curves:
        words = "Loss of each step and its running mean, and the score of each validation."
        alt = f"Two curves against the training step. {words}"
        sections.append(Section("Training", [Picture(curves, alt, words)]))
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
    curves = _curves(pd.concat(cards, ignore_index=True), units)
    bands = Text(f"Seed {first}; bands are bootstrap intervals over starts.", "quiet")
    scores = table_of(table.scores, "Mean over seeds", 4)
    paired = table_of(table.differences, f"RMSE of {table.rows[0]} less that of the other")
    sections = [
        Section("Skill against lead time", [*curves, bands]),
        Section("Scores, mean over seeds", [scores]),
        Section(f"RMSE of {table.rows[0]} less that of the other, paired", [paired]),
        *pictures,
    ]
    about, notes = [_title(store), command], [_notice(store)]
    origin = provenance({"runs": str(table.runs[table.rows[0], first].parent)})
    page = Page("Weather models under one budget", sections, (), about, notes, origin)
    return write_page(out / "report.html", page)


def _pictures(place: Path, store: TrainingStore, units: dict[str, str]) -> list[Part]:
    """Spectra, spread, ranks, maps and the Courant number of one run."""
    parts: list[Part] = []
    spectra, ranks = (place / "scores" / f"{name}.csv" for name in ("spectra", "ranks"))
    if spectra.exists():
        parts += _spectra(pd.read_csv(spectra), units)
    card = pd.read_csv(place / "scores" / "scorecard.csv")
    parts += _ensemble(card, pd.read_csv(ranks), units)
    parts += one_forecast(open_forecast(place / "test", store), store, units)
    courant = figures.courant(place / "run" / "log.csv")
    alt = "Curve of the Courant number against the training step."
    return parts + ([Picture(courant, alt, "Courant number of training.")] if courant else [])
