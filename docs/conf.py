"""Sphinx's settings of the site: `uv run --group docs sphinx-build -W docs site`.

Pages are hand-written (Markdown here), executed (tutorials/) or generated into reference/ from
the registry, the configs, the results and the docstrings, each time the site is built.
MMATTN_TUTORIALS=off leaves the tutorials unexecuted: a look at the pages takes a minute then.
"""

import os
import sys
import tempfile
from pathlib import Path

# The checkout's own mmattn, whichever is installed, and what is beside this file.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import generate
import mathml
import mmattn

project = 'mmattn'
author = 'the mmattn developers'
release = version = mmattn.__version__
language = 'en'

extensions = [
    'myst_nb',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
    'sphinx_copybutton',
    'sphinx_design',
]
exclude_patterns = ['README.md', 'generate', '_static', 'tutorials/follow.md']

myst_enable_extensions = ['attrs_inline', 'colon_fence', 'deflist', 'dollarmath', 'fieldlist']
myst_heading_anchors = 3
nb_execution_mode = 'off' if os.environ.get('MMATTN_TUTORIALS') == 'off' else 'force'
# IPython's lexer does not know a command that goes on in the next line; it colours it all the same.
suppress_warnings = ['misc.highlighting_failure']
if nb_execution_mode == 'off':
    suppress_warnings.append('myst-nb.lexer')  # what is not executed does not tell its language
nb_execution_timeout = 900  # of a cell
# Where the tutorials work (scratch.py): a kernel that is ended cannot remove it itself.
scratch = tempfile.TemporaryDirectory(prefix='mmattn_')
os.environ['MMATTN_SCRATCH'] = scratch.name
nb_execution_raise_on_error = True
nb_merge_streams = True
# Progress bars and logs are the same text on both streams.
nb_output_stderr = 'show'

autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
autodoc_preserve_defaults = True
napoleon_custom_sections = ['Formula', ('Shape', 'notes_style')]
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = 'furo'
html_title = 'mmattn'
html_static_path = ['_static']
html_css_files = ['site.css']
html_js_files = ['tables.js']
html_show_sphinx = False
html_math_renderer = 'mathml'
copybutton_prompt_text = r'\$ |>>> '
copybutton_prompt_is_regexp = True


def spread(_app, _env, docnames: list[str]) -> None:
    """Put the tutorials among the other pages: a process reads neighbours; these take minutes.

    The first and last of the alphabet take longest, and the last should not wait for its turn.
    """
    pages = [name for name in docnames if not name.startswith('tutorials/')]
    tutorials = [name for name in reversed(docnames) if name.startswith('tutorials/')]
    step = len(pages) // max(len(tutorials), 1) + 1
    for index, name in enumerate(tutorials):
        pages.insert(index * step, name)
    docnames[:] = pages


def setup(app) -> None:
    """Sphinx calls this."""
    app.connect('env-before-read-docs', spread)
    mathml.setup(app)
    generate.setup(app)
