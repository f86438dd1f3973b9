"""Inputs: one reader per kind, all giving the same lazy xarray.Dataset.

Dimensions (time, lat, lon), latitudes ascending, longitudes from 0, times increasing; one variable
per channel by its short name; static fields (lat, lon) where there are any.
"""
