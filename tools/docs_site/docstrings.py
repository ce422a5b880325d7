"""Render Sphinx roles in docstrings: :func:`name` becomes a link into the reference, :math:`x` an equation."""
import re

import griffe

ROLE = re.compile(r':(?P<role>attr|class|data|func|math|meth|mod):`(?P<text>[^`]+)`')


class Roles(griffe.Extension):
    """Rewrite the docstring of each object when it is read."""

    def on_object(self, *, obj, **kwargs):
        if not obj.docstring:
            return

        def in_markdown(match):
            if match['role'] == 'math':
                return f'${match["text"]}$'
            path = match['text'].lstrip('~')
            name = path.rpartition('.')[2] if match['text'][0] == '~' else path
            # Names without an entry stay code.
            return f'<autoref optional identifier="{full_path(obj, path)}"><code>{name}</code></autoref>'

        obj.docstring.value = ROLE.sub(in_markdown, obj.docstring.value)


def full_path(obj, path):
    try:
        return obj.resolve(path)
    except griffe.NameResolutionError:
        return path
