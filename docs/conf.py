"""How the site is built: `make docs`. The reference is written from the package, and the gallery is run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "site")]
os.environ.setdefault("MPLBACKEND", "Agg")

import links  # noqa: E402
import reference  # noqa: E402

import facelesion  # noqa: E402

project = "facelesion"
author = copyright = "The facelesion authors"
version = release = facelesion.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["gallery", "examples/sg_execution_times.rst", "sg_execution_times.rst", "site"]
default_role = "py:obj"
nitpicky = False
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
add_module_names = False

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "backreferences_dir": "examples/uses",
    "doc_module": ("facelesion",),
    "inspect_global_variables": False,
    "show_signature": False,
    "remove_config_comments": True,
    "write_computation_times": False,
    "min_reported_time": 1000,
}

html_theme = "furo"
html_title = "facelesion"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#b34700", "color-brand-content": "#b34700"},
    "dark_css_variables": {"color-brand-primary": "#ff9a52", "color-brand-content": "#ff9a52"},
}
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False


def setup(app):
    reference.write(HERE / "reference")
    links.setup(app)
