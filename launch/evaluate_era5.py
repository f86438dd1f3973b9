"""Score a forecast beside persistence, damped persistence and climatology; write the report.

python launch/evaluate_era5.py forecast=FORECAST store=STORE out=DIR [run_dir=RUN] [dress=FORECAST]
    [dask.scheduler=tcp://HOST:PORT]

forecast=[A,B] pools forecasts of several periods: one scorecard, intervals over all of them.
"""

from ending import then
from entry import launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """Scorecard, report, and what the scorecard says of the model."""
    import sys
    from pathlib import Path

    from climate.forecasts.reading import open_forecast
    from climate.forecasts.truth import open_for_forecast
    from climate.report.pages import write_report
    from climate.verification.published import format_beside
    from climate.verification.scorecard import check_against_trivial, format_table, score
    from vgbdm.storage.lock import locked
    from vgbdm.tasks import Dask
    from vgbdm.training.run_folder import DERIVED

    out = Path(cfg.out)
    aside = Path(cfg.run_dir or out) / DERIVED
    with locked(out):
        dask = Dask(cfg.dask.scheduler, cfg.workers)
        given = [cfg.forecast] if isinstance(cfg.forecast, str) else [*cfg.forecast]
        places = [dask.path(place) for place in given]
        store = open_for_forecast(dask.path(cfg.store), places[0], dask.path(aside))
        forecasts = [open_forecast(place, store) for place in places]
        forecast = forecasts[0]
        dress = open_forecast(dask.path(cfg.dress), store) if cfg.dress else None
        result = score(forecasts, store, dress, cfg.seed, dask, aside, cfg.members)
        result.write(out)
        print(format_table(result.scorecard))
        report = write_report(result, forecast, store, out, cfg.run_dir)
    print(f"\nintervals: {result.rules['intervals']}\nclimatology: {result.rules['climatology']}")
    print(format_beside(result.scorecard, forecast, store))
    for name in ("periods", "boundary", "given_truth"):
        if name in result.rules:
            print(f"{name.replace('_', ' ')}: {result.rules[name]}")
    if "outside_training" in result.rules:
        print(f"outside of training: {result.rules['outside_training']}")
    print(f"scorecard: {out / 'scorecard.csv'}\nreport: {report}")
    then("open the report in a browser")
    if cfg.must_beat:
        hours = tuple(cfg.must_beat)
        failures = check_against_trivial(result.scorecard, hours)
        leads = " and ".join(f"{hour} h" for hour in hours)
        if failures:
            sys.exit(f"error: the model does not beat the trivial rows: {'; '.join(failures)}")
        print(f"the model beats persistence and damped persistence at {leads} for every variable")


if __name__ == "__main__":
    launch(main, "evaluate_era5")
