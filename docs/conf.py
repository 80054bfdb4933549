"""How the documentation is built. ``make docs`` does it, warnings are errors, no network."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

import numpy.typing

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))

project = "modalxai"
author = "the modalxai authors"
copyright = "the modalxai authors, Apache-2.0"
release = installed_version("modalxai")
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
    "public_api",
    "korean_pages",
    "written_later",
]
exclude_patterns = ["_build", "_ext", "inventories/*.md"]

# Links to other projects, without asking them: see inventories/make.py.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3/", str(HERE / "inventories" / "python.inv")),
    "numpy": ("https://numpy.org/doc/stable/", str(HERE / "inventories" / "numpy.inv")),
    "torch": ("https://docs.pytorch.org/docs/stable/", str(HERE / "inventories" / "torch.inv")),
}

# A name in single backticks is a Python name: one that does not exist is an error.
default_role = "py:obj"
nitpicky = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
# Annotations would write it out, in a dozen lines of numpy's private names.
numpy.typing.ArrayLike = type("ArrayLike", (), {"__module__": "numpy.typing"})
# Projects without an inventory here: their names are shown, and lead nowhere.
nitpick_ignore_regex = [
    ("py:.*", r"(matplotlib|hypothesis|shap|shapiq|pd|pandas|transformers)\..*"),
    ("py:.*", r"Figure|Axes|PretrainedConfig|PreTrainedModel|SearchStrategy"),
]
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autosummary_generate = False
toc_object_entries_show_parents = "hide"
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_rtype = False
python_use_unqualified_type_names = True
public_api_rooms = [
    "modalxai",
    "modalxai.types",
    "modalxai.protocols",
    "modalxai.errors",
    "modalxai.plugins",
    "modalxai.hub",
    "modalxai.encoders",
    "modalxai.fusion",
    "modalxai.attribution",
    "modalxai.attribution.indices",
    "modalxai.games",
    "modalxai.corpus_run",
    "modalxai.report",
    "modalxai.report.figures",
    "modalxai.training",
    "modalxai.training.augment",
    "modalxai.datasets",
    "modalxai.datasets.transcribers",
    "modalxai.datasets.translators",
    "modalxai.datasets.tonebench",
    "modalxai.metrics",
    "modalxai.statistics",
    "modalxai.evaluation",
    "modalxai.testing",
    "modalxai.testing.oracles",
    "modalxai.testing.oracle_models",
    "modalxai.testing.strategies",
    "modalxai.testing.examples",
    "modalxai.interop",
    "modalxai.voice",
    "modalxai.biosignals",
    "modalxai.alignment",
    "modalxai.audio",
    "modalxai.masking",
    "modalxai.blocks",
    "modalxai.pretrained",
    "modalxai.recipes",
    "modalxai.benchmark.tonebench",
    "modalxai.benchmark.speed",
]

myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 3

sphinx_gallery_conf = {
    "examples_dirs": [str(HERE.parent / "examples" / "tutorials")],
    "gallery_dirs": ["tutorials"],
    "filename_pattern": r"/plot_",
    "within_subsection_order": "tutorial_order.in_order",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "min_reported_time": 3600,  # a busy machine is no reason to read that a script is slow
    "show_signature": False,
    "write_computation_times": False,
    "image_scrapers": ("figure_scraper.figures",),
    "capture_repr": (),
}

html_theme = "pydata_sphinx_theme"
html_title = "modalxai"
html_static_path = ["_static"]
html_css_files = ["modalxai.css"]
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "modalxai"},
    "navbar_end": ["theme-switcher"],
    "navigation_with_keys": False,
    "header_links_before_dropdown": 8,
    "show_nav_level": 1,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": []}
