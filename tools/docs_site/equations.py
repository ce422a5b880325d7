"""Render LaTeX as MathML when the site is built: browsers show it without scripts."""
import html
import re

from math_core import LatexToMathML
from mkdocs.exceptions import PluginError

# What pymdownx.arithmatex makes of $...$ and $$...$$.
EQUATION = re.compile(r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL)
CONVERTER = LatexToMathML(fancy_error=False)


def on_page_content(content, page, config, files):
    """Replace the equations of a page."""
    def render(equation):
        # The converter does not support tags with a prime.
        latex = re.sub(r'\\tag\{(.*?)\}', r'\\qquad (\1)', html.unescape(equation['latex']))
        try:
            mathml = CONVERTER.convert_with_local_state(latex, displaystyle=equation['tag'] == 'div')
        except Exception as error:
            raise PluginError(f'{page.file.src_uri}: {latex} is no LaTeX that can be rendered: {error}') from error
        return mathml if equation['tag'] == 'span' else f'<div class="equation">{mathml}</div>'

    return EQUATION.sub(render, content)
