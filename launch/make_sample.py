"""Make a stand-in atmosphere in the layout of WeatherBench, for machines without ERA5.

python launch/make_sample.py out=DIR days=N seed=S

It proves a pipeline. Its wind carries its temperatures by construction, which favours grey-box
models: scores on it say nothing about the real atmosphere.
"""

from entry import launch
from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    """Simulate and write."""
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


if __name__ == "__main__":
    launch(main, "make_sample")
