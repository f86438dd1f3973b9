"""Paths between frames: where a field is asked, and what it should answer."""
