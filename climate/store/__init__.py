"""The training store: one Zarr v3 group with a manifest. Layout, conversion, statistics."""
