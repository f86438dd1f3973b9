"""Make a stand-in atmosphere in the layout of WeatherBench, for machines without ERA5.

python launch/make_sample.py out=DIR days=N seed=S

It proves a pipeline. Its wind carries its temperatures by construction, which favours grey-box
models: scores on it say nothing about the real atmosphere.
"""

from ending import command, then
from entry import launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """Simulate and write."""
    import numpy as np

    from climate.sample.write import make_sample

    make_sample(
        cfg.out,
        days=cfg.days,
        seed=cfg.seed,
        start=str(cfg.start),
        spin_up_days=cfg.spin_up_days,
        truncation=cfg.truncation,
    )
    print(f"sample: {cfg.out}")
    last = np.datetime64(str(cfg.start), "D") + cfg.days - 1
    period = f"period=[{np.datetime64(str(cfg.start), 'D')},{last}]"
    source = f"source.root={cfg.out}"
    then(command("convert_era5", source, "store=STORE", period, "split=null"))


if __name__ == "__main__":
    launch(main, "make_sample")
