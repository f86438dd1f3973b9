"""The page, the table and the pictures of an evaluation. Needs the extra ``report``."""

from vgbdm.extras import need

need("matplotlib", "a report")
