"""Show a notebook as Markdown: its prose, code, and the outputs stored in the file."""
import base64
import json
from pathlib import Path

ENDINGS = {'image/png': '.png', 'image/jpeg': '.jpg'}


def as_markdown(path: Path) -> tuple[str, dict[str, bytes]]:
    """Markdown of a notebook and its figures by file name, which the Markdown refers to.

    The comment at the start of a cell becomes the description of its figures.
    """
    parts, figures = [], {}
    for cell in json.loads(path.read_text())['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown':
            parts.append(source)
            continue
        parts.append(fenced(source, 'bash' if source.startswith('%%bash') else 'python'))
        printed = ''
        for output in cell['outputs']:
            data = output.get('data', {})
            kind = next((kind for kind in ENDINGS if kind in data), None)
            if kind:
                name = f'{path.stem}_{len(figures) + 1}{ENDINGS[kind]}'
                figures[name] = base64.b64decode(data[kind])
                comment = source.partition('\n')[0]
                parts.append(f"![{comment.lstrip('# ') if comment.startswith('#') else 'Figure'}]({name})")
            else:
                printed += ''.join(output.get('text') or data['text/plain'])
        if printed:
            parts.append(fenced(printed, 'text'))
    return '\n\n'.join(parts) + '\n', figures


def fenced(text, language):
    return f'~~~~~~{language}\n{text.rstrip()}\n~~~~~~'
