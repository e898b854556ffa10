"""The site: `make docs` builds it into build/docs, warnings being errors, without a network."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

import thresher

project = "thresher"
author = "The thresher developers"
copyright = author
version = release = thresher.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    # ours, in docs/extensions
    "command_line",
    "docstrings",
    "mathml",
    "measured",
    "ranges",
    "self_contained",
]
exclude_patterns = ["extensions"]
nitpicky = True
nitpick_ignore_regex = [
    # inventories of other projects cannot be fetched: their names stay without a link
    (
        "py:.*",
        r"(torch|np|numpy|pa|pyarrow|sklearn|accelerate|jinja2|transformers|lightning|starlette)\..*",
    ),
    ("py:.*", r"(collections|os|pathlib|typing)\..*"),
    (
        "py:class",
        r"Tensor|nn\.Module|NDArray|DataFrame|Path",
    ),  # the same, within a ClassVar or a field
    ("py:class", r"dict\[str"),  # half of a type: "=<factory>" beside it is no Python
    ("py:class", r"Draw"),  # an alias of a function from a name to Drawn
    ("py:class", r"thresher\.training\.loop\.Augment"),  # a protocol; the page says its call
]

# ---- Markdown
myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

# ---- docstrings
default_role = "py:obj"
documented_modules = [
    "thresher",
    "thresher.settings",
    "thresher.fitting",
    "thresher.noise",
    "thresher.history",
    "thresher.data",
    "thresher.data.encoding",
    "thresher.data.indexed",
    "thresher.data.corruption",
    "thresher.models",
    "thresher.openset",
    "thresher.sampling",
    "thresher.sampling.selector",
    "thresher.sampling.binned_thinning",
    "thresher.training.loop",
    "thresher.training.snapshots",
    "thresher.training.stream",
    "thresher.training.accumulation",
    "thresher.training.augment",
    "thresher.training.hugging_face",
    "thresher.training.lightning",
    "thresher.audit",
    "thresher.audit.summary",
    "thresher.audit.scores",
    "thresher.audit.features",
    "thresher.audit.stored_matrix",
    "thresher.audit.verdicts",
    "thresher.corrected",
    "thresher.noise_rate",
    "thresher.transition",
    "thresher.trained_model",
    "thresher.errors",
    "thresher.review.server",
    "thresher.review.session",
    "thresher.review.routes",
    "thresher.review.guard",
    "thresher.decisions",
    "thresher.decided",
    "thresher.audit.evidence_file",
    "thresher.cluster",
    "thresher.cluster.silhouette",
    "thresher.cluster.points",
    "thresher.cluster.spark.pamae",
    "thresher.cluster.spark.spark_dbscan",
]
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_mock_imports = ["transformers", "lightning"]  # extras; a page needs their names only
autodoc_class_signature = "mixed"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 80

# ---- pages
html_theme = "pydata_sphinx_theme"
html_title = "thresher"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_sidebars = {"start": []}  # a part of one page
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    # not beside the methods and the measurements, whose tables need the room
    "secondary_sidebar_items": {pages: ["page-toc"] for pages in ("[!m]*", "model")},
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_context = {"default_mode": "auto"}
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True


def to_the_site(app, docname, source):
    """Pages are readable in the repository: their links to results lead to the site's copies."""
    source[0] = re.sub(
        r"\]\(\.\./((?:\.\./)*)benchmarks/(README|results/\w+)\.md",
        lambda found: f"]({found[1]}{found[2].replace('results', 'measurements', 1)}.md".replace(
            "README", "measurements"
        ),
        source[0],
    )


def setup(app):
    """Connect it."""
    app.connect("source-read", to_the_site)
