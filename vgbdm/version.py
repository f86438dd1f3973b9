"""The version of this code; `vgbdm.origin` tells the commit too."""

__version__ = "0.1.0"
