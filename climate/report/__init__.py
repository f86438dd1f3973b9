"""Pages and pictures of forecasts, their scores and comparisons. Needs the extra ``report``."""

from vgbdm.extras import need

need("matplotlib", "a report")
