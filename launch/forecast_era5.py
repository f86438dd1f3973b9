"""Forecast with a trained model, from every start of a period or some, to a CF-compliant store.

python launch/forecast_era5.py run_dir=RUN store=STORE out=FORECAST leads=42h [members=16]
python launch/forecast_era5.py run_dir=RUN store=STORE out=FORECAST leads=10d starts=latest
torchrun --nproc-per-node 8 launch/forecast_era5.py …      starts and members shared by 8 GPUs
python launch/forecast_era5.py … starts=latest forcing=STORE      what the model is given ahead
python launch/forecast_era5.py … region.boundary=GLOBAL_FORECAST      a region, driven from outside
python launch/forecast_era5.py … resume=true      where such a forecast was stopped
"""

from ending import command, then
from entry import launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """Load the model, forecast, say where it is."""
    from climate.conventions.calendar import parse_duration
    from climate.forecasts.writing import write_forecast
    from climate.models.weather_model import WeatherModel
    from climate.operators.table_cache import tables_kept_in
    from climate.stream.views import open_for_model
    from vgbdm.loading import load, run_folder
    from vgbdm.training.backends.torch import join
    from vgbdm.training.run_folder import DERIVED

    group = join(precision=cfg.precision, clip=0.0, accumulation=1)
    device = cfg.device or str(group.device)
    with tables_kept_in(cfg.cache):
        model = load(cfg.run_dir, cfg.checkpoint, device, WeatherModel)
    # no clock and no folders: the same run makes the same file
    whose = "split" if cfg.starts is None else "starts"
    told = ("leads", whose, "members", "seed", "checkpoint", "precision")
    history = " ".join(f"{key}={cfg[key]}" for key in told if cfg[key] is not None)
    about = {"history": f"launch/forecast_era5.py {history}"}
    if cfg.institution:
        about["institution"] = cfg.institution
    aside = run_folder(cfg.run_dir) / DERIVED
    write_forecast(
        model,
        open_for_model(cfg.store, model, aside),
        cfg.out,
        lead=parse_duration("leads", cfg.leads),
        split=cfg.split,
        starts=cfg.starts,
        forcing=cfg.forcing,
        members=cfg.members,
        seed=cfg.seed,
        pairs=cfg.pairs,
        batch=cfg.batch,
        device=device,
        precision=cfg.precision,
        boundary=cfg.region.boundary,
        aside=aside,
        resume=cfg.resume,
        group=group,
        about=about,
    )
    if group.rank == 0:
        print(f"forecasts: {cfg.out}")
        then(
            command("evaluate_era5", f"forecast={cfg.out}", f"store={cfg.store}", "out=SCORES",
                    f"run_dir={cfg.run_dir}")
            if cfg.starts is None
            else f"python -c 'import xarray; print(xarray.open_zarr(\"{cfg.out}\"))'"
        )  # fmt: skip


if __name__ == "__main__":
    launch(main, "forecast_era5")
