r"""Convert weather files to the training store (chunked Zarr), with Dask.

python launch/convert_era5.py source.root=DIR store=STORE variables=[u10,v10] \
    split.train=[START,END] split.val=[START,END] split.test=[START,END]

A conversion that was stopped is continued by the same command.
"""

from ending import command, then
from entry import launch
from omegaconf import DictConfig, OmegaConf


def main(cfg: DictConfig) -> None:
    """Open the source, write the store, say what it holds."""
    from climate.conventions.calendar import divide
    from climate.conventions.wording import date
    from climate.conversion.append import append
    from climate.conversion.convert import convert
    from climate.conversion.plan import preview
    from climate.sources.opening import open_source
    from climate.sources.volume import volume_of
    from climate.store.coverage import describe_times
    from climate.store.layout import open_store
    from climate.store.mask import mask_lines
    from climate.store.odd_maps import describe_odd_maps

    dataset, origin = open_source(cfg)
    splits = divide(cfg.period) if cfg.split is None else OmegaConf.to_container(cfg.split)
    if cfg.check:
        told = preview(dataset, cfg.store, splits, cfg.dask.scheduler, cfg.workers)
        print(f"reads       {volume_of(dataset)}")
        print("\n".join(told))
        then("the same command without check=true")
        return
    about = {
        "splits": splits,
        "source": origin,
        "scheduler": cfg.dask.scheduler,
        "workers": cfg.workers,
        "restart": cfg.restart,
        "force_unlock": cfg.force_unlock,
        "odd_maps": cfg.odd_maps,
    }
    if cfg.append:
        append(dataset, cfg.store, **about)
    else:
        about |= {name: cfg[name] for name in ("nan_allowance", "codec", "climatology")}
        convert(dataset, cfg.store, **about)
    store = open_store(cfg.store)
    first, last = date(store.times[0]), date(store.times[-1])
    print(f"{cfg.store}: {len(store.times)} times from {first} to {last}")
    for line in (*describe_times(store), *mask_lines(store.channels, store.mask)):
        print(f"  {line}")
    for line in describe_odd_maps(store.path):
        print(f"  odd maps    {line}")
    for name, mean, std in zip(
        store.channels, store.statistics.mean, store.statistics.std, strict=True
    ):
        units = store.channel_attrs[name]["units"]
        print(f"  {name:5} mean {mean:.6g}, std {std:.6g} {units} (training period)")
    then(command("train_era5", f"store={cfg.store}", "run_dir=RUN"))


if __name__ == "__main__":
    launch(main, "convert_era5")
