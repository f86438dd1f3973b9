"""Paired differences of two forecasts over their common starts, with intervals.

python launch/compare_forecasts.py A B truth=STORE out=DIR
"""

from ending import then
from entry import launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """Table, report, and what they say."""
    from pathlib import Path

    from climate.forecasts.reading import open_forecast
    from climate.forecasts.truth import open_for_forecast
    from climate.report.pages import write_comparison
    from climate.verification.comparison import compare, format_comparison
    from vgbdm.report.tables import write_csv
    from vgbdm.storage.lock import locked
    from vgbdm.tasks import Dask
    from vgbdm.training.run_folder import DERIVED

    out = Path(cfg.out)
    with locked(out):
        dask = Dask(cfg.dask.scheduler, cfg.workers)
        a, b = dask.path(cfg.a), dask.path(cfg.b)
        store = open_for_forecast(dask.path(cfg.truth), a, dask.path(out / DERIVED))
        first, second = open_forecast(a, store), open_forecast(b, store)
        comparison = compare(first, second, store, cfg.seed, dask)
        write_csv(comparison.table, out / "comparison.csv")
        report = write_comparison(comparison, (cfg.a, cfg.b), store, out)
    print(f"a: {cfg.a}\nb: {cfg.b}")
    for score in ("rmse_root_of_mean", "crps"):
        print(format_comparison(comparison, score))
    print(f"\nintervals: {comparison.rule}\nclimatology: {comparison.climatology}")
    print(f"comparison: {out / 'comparison.csv'}\nreport: {report}")
    then("open the report in a browser")


if __name__ == "__main__":
    launch(main, "compare_forecasts", positional=("a", "b"))
