"""The page, the table and the pictures of an evaluation. Needs the extra ``report``."""

from vgbdm.extras import need

for package in ("matplotlib", "jinja2"):
    need(package, "a report")
