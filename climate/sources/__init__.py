"""Inputs: one reader per kind, all giving the same lazy xarray.Dataset.

Dimensions (time, lat, lon), latitudes ascending, longitudes from 0 (of a box: eastwards from its
west), times increasing; one float32 variable per channel by its short name; static fields
(lat, lon) where there are any. Nothing is read before it is loaded; load some times of all channels
at once.
"""
