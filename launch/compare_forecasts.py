"""Paired differences of two forecasts over their common starts, with intervals.

python launch/compare_forecasts.py A B truth=STORE out=DIR
"""

from entry import launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """Table, report, and what they say."""
    from pathlib import Path

    from climate.report import write_comparison
    from climate.store.views import open_for_forecast
    from climate.verification.comparison import compare, format_comparison
    from climate.verification.forecasts import open_forecast
    from vgbdm.training.loop import DERIVED

    out = Path(cfg.out)
    store = open_for_forecast(cfg.truth, cfg.a, out / DERIVED)
    comparison = compare(open_forecast(cfg.a, store), open_forecast(cfg.b, store), store, cfg.seed)
    out.mkdir(parents=True, exist_ok=True)
    comparison.table.to_csv(out / "comparison.csv", index=False, float_format="%.8g")
    print(f"a: {cfg.a}\nb: {cfg.b}")
    for score in ("rmse_root_of_mean", "crps"):
        print(format_comparison(comparison, score))
    print(f"\nintervals: {comparison.rule}")
    report = write_comparison(comparison, (cfg.a, cfg.b), store, out)
    print(f"comparison: {out / 'comparison.csv'}\nreport: {report}")


if __name__ == "__main__":
    launch(main, "compare_forecasts", positional=("a", "b"))
