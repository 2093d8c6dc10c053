"""Formulas as MathML, which browsers show by themselves: no script, no network."""

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator


def to_mathml(latex: str, block: bool = False) -> str:
    """A formula in LaTeX -> a <math> element.

    Raises:
        docutils.utils.math.MathError: If it is not understood.
    """
    return latex2mathml.tex2mathml(latex, as_block=block)


def visit_inline(writer: HTML5Translator, node: nodes.math) -> None:
    writer.body.append(to_mathml(node.astext()))
    raise nodes.SkipNode


def visit_block(writer: HTML5Translator, node: nodes.math_block) -> None:
    writer.body.append(f'<div class="formula">{to_mathml(node.astext(), block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Register the renderer."""
    app.add_html_math_renderer('mathml', (visit_inline, None), (visit_block, None))
