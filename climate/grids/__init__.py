"""Latitude–longitude grids, regions and areas of them, features of time and place."""
