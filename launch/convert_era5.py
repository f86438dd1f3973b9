"""Convert weather files to the training store (chunked Zarr), with Dask.

python launch/convert_era5.py source.root=DIR store=STORE variables=[u10,v10] \
    split.train=[START,END] split.val=[START,END] split.test=[START,END]
"""

from entry import launch
from omegaconf import DictConfig, OmegaConf


def main(cfg: DictConfig) -> None:
    """Open the source, write the store, say what it holds."""
    from climate.store.convert import convert
    from climate.store.layout import open_store
    from vgbdm.build import build

    source = build(cfg.source)
    convert(
        source.open(),
        cfg.store,
        OmegaConf.to_container(cfg.split, resolve=True),
        source={"source": str(cfg.source._target_)},
        nan_allowance=cfg.nan_allowance,
        workers=cfg.workers,
        codec=cfg.codec,
    )
    store = open_store(cfg.store)
    print(f"{cfg.store}: {len(store.times)} times from {store.times[0]} to {store.times[-1]}")
    for name, (start, end) in store.splits.items():
        print(f"  {name:5} {start} … {end}")
    for name, mean, std in zip(
        store.channels, store.statistics.mean, store.statistics.std, strict=True
    ):
        units = store.channel_attrs[name]["units"]
        print(f"  {name:5} mean {mean:.6g}, std {std:.6g} {units} (training period)")


if __name__ == "__main__":
    launch(main, "convert_era5")
