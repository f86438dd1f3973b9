"""Marks of what a config may name; `registry.build` reads them off the text, before it imports.

A mark stands above a definition at the top of a module, under its own name.
"""

from __future__ import annotations

from typing import TypeVar

Made = TypeVar("Made")


def model_part(made: Made) -> Made:
    """A class that a model is made of: a config may name it, and a checkpoint as well."""
    return made


def buildable(made: Made) -> Made:
    """A class or function that a config may name, to train or to convert; a checkpoint may not."""
    return made
