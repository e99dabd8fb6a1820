"""How the site is built: ``sphinx-build -W --keep-going -b html docs docs/_build/html``.

The lessons and the reference are not written here: each lesson of ``examples/`` becomes a notebook
that the build runs, each public name an entry with its docstring. Both land in ignored folders.

The playground goes beside the pages:
``python docs/make_playground.py docs/_build/html/playground``.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
# This clone is what the pages show, whatever is installed; notebooks run in processes of their own.
sys.path[:0] = [str(ROOT), str(HERE)]
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.getenv("PYTHONPATH")])])
os.environ["TQDM_DISABLE"] = "1"  # a page needs no progress bar
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for products this small, more are slower

import gallery
import make_course
import make_reference

import tinygrad_rnn

project = "tinygrad_rnn"
release = tinygrad_rnn.__version__
copyright = "the authors of tinygrad_rnn"
language = "en-GB"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = [
    "_build", "pages", "jupyter_execute", "gallery/README.md", "course/data", "course/solutions",
    "course/README.md",
]  # fmt: skip
nitpicky = True
nitpick_ignore_regex = [
    ("py:class", ".*"),  # the words of a type: "array of shape (n,)" is no link
    # Words that look like names, and names of others.
    ("py:obj", "tensor|module|report|derive|Scope.owner|Module.training|Tensor.number"),
    ("py:obj", "graphviz.Source"),
]

# --- notebooks: run in the folder they lie in; one that fails fails the build --------------------
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 900  # a cell; none needs a minute, but machines differ
nb_merge_streams = True
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # nothing from elsewhere
myst_enable_extensions = ["colon_fence", "attrs_inline"]
myst_heading_anchors = 3

# --- reference ------------------------------------------------------------------------------------
autodoc_typehints = "none"  # the docstrings say the types, and the shapes
autodoc_preserve_defaults = True  # dtype=np.float64, as it is written
autodoc_member_order = "bysource"
autosummary_generate = False  # tables only: each floor is one page
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_use_ivar = True
default_role = "autolink"  # `unroll` is a link, `x` is not

# --- how it looks ---------------------------------------------------------------------------------
html_theme = "pydata_sphinx_theme"
html_title = "tinygrad_rnn"
html_static_path = ["_static"]
html_extra_path = ["pages"]  # the player and the films, see below
(HERE / "pages").mkdir(exist_ok=True)
html_css_files = ["site.css"]
html_show_sourcelink = False
html_sidebars = {
    **{page: [] for page in ("index", "how-it-works", "compared", "floor", "guide-for-teachers")},
    "**": ["sidebar-nav-bs"],
}
html_context = {"default_mode": "auto"}
html_theme_options = {
    "logo": {"text": "tinygrad_rnn"},
    "navbar_align": "left",
    "show_toc_level": 2,
    "navigation_with_keys": False,
    # Elsewhere pictures need the width.
    "secondary_sidebar_items": {
        page: ["page-toc"]
        for page in ("reference/*", "how-it-works", "compared", "floor", "guide-for-teachers")
    },
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def write_pages(_: Any) -> None:
    """Make the course from the lessons, the reference from the packages, and the moving pages."""
    shutil.rmtree(HERE / "reference", ignore_errors=True)
    make_reference.write_reference(HERE / "reference")
    make_course.write_course(ROOT / "examples", HERE / "course", HERE / "pages" / "notebooks")
    for name, play in gallery.MOVING.items():
        play().save(HERE / "pages" / f"{name}.html")


def stand_in(app: Any, _: Any) -> None:
    """Where the playground has not been built, its page says so, and no link to it is dead."""
    page = Path(app.outdir) / "playground" / "index.html"
    if not page.exists():
        page.parent.mkdir(exist_ok=True)
        page.write_text(NO_PLAYGROUND, encoding="utf-8")


NO_PLAYGROUND = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Playground</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<body style="font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto">
<p>This copy of the site was built without the playground. This command adds it, and takes npm:
<pre>python docs/make_playground.py docs/_build/html/playground</pre>
<p><a href="../index.html">Back</a></html>
"""


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", write_pages)
    app.connect("build-finished", stand_in)
