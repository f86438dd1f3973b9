"""How the site is built: `make docs`. Nothing on a page is fetched from elsewhere."""

import locale
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]
os.environ.setdefault("OMP_NUM_THREADS", "1")
locale.setlocale(locale.LC_NUMERIC, "C")  # cf-units puts back what it finds, by a name it may lack

from vgbdm.version import __version__  # noqa: E402

project = "VGB-DM"
author = "The vgbdm maintainers"
copyright = author
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "error_messages",
    "public_names",
    "whole_lines",
]
exclude_patterns = ["_ext", "_static", "**/__pycache__"]
nitpicky = True
default_role = "literal"

# A page links what is in the repository and not on the site, such as a config.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]

# Tutorials run as the site is built. What has run is kept, by its text, in the cache.
nb_execution_mode = os.environ.get("DOCS_EXECUTION", "cache")
nb_execution_cache_path = os.environ.get(
    "DOCS_CACHE", str(HERE.parent / ".docs-cache" / "notebooks")
)
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 1200  # seconds a cell, on a busy machine too
nb_output_stderr = "remove"  # progress
nb_ipywidgets_js = {}  # else these are fetched from elsewhere
nb_merge_streams = True

# Types of other packages stand as they are: their inventories would have to be fetched.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autosummary_generate = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True
nitpick_ignore_regex = [("py:.*", r".*")]

html_theme = "pydata_sphinx_theme"
html_title = f"VGB-DM {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "VGB-DM"},
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "navbar_end": ["theme-switcher"],
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
}

# `make docs-external` lists what lies elsewhere; on this machine nothing of it can be tried.
linkcheck_ignore = [r"https?://"]
