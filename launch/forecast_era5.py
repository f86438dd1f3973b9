"""Forecast from every start of a period with a trained model, to a CF-compliant Zarr store.

python launch/forecast_era5.py run_dir=RUN store=STORE out=FORECAST leads=42h
"""

from entry import launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """Load the model, forecast, say where it is."""
    import torch

    from climate.forecast import write_forecast
    from climate.models import load_model
    from climate.store.views import open_for_model
    from climate.training import parse_hours

    device = cfg.device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = load_model(cfg.run_dir, cfg.checkpoint)
    write_forecast(
        model,
        open_for_model(cfg.store, model),
        cfg.out,
        lead=parse_hours("leads", cfg.leads),
        split=cfg.split,
        batch=cfg.batch,
        device=device,
    )
    print(f"forecasts: {cfg.out}")


if __name__ == "__main__":
    launch(main, "forecast_era5")
