"""Pages and pictures of forecasts, their scores and comparisons. Needs the extra ``report``."""

from vgbdm.extras import need

for package in ("matplotlib", "jinja2"):
    need(package, "a report")
