"""Let pages of the site link to files outside docs, as on the code host: these become pages of the site, too.

A linked Markdown file or notebook is rendered, other text is shown as code, and a folder as the list of its files.
"""
import re
from os.path import normpath, relpath
from pathlib import Path

from mkdocs.structure.files import File
from notebooks import as_markdown

ROOT = Path(__file__).parents[2]
# [text](path#anchor), and a line [name]: path
LINK = re.compile(r'(?P<start>\]\(|^\[[^]]+\]: )(?P<path>[^)\s:#]+)(?P<anchor>#[^)\s]*)?(?=\)|$)', re.MULTILINE)
LANGUAGES = {'.py': 'python', '.json': 'json', '.jsonl': 'json', '.yml': 'yaml', '.sh': 'bash'}
HIDDEN = '---\nsearch:\n  exclude: true\n---\n'


def on_files(files, config):
    """Add pages for the files and folders outside docs that pages link to, directly or through other such pages."""
    queue = [file for file in files.documentation_pages()]
    while queue:
        source = queue.pop()
        for link in LINK.finditer(source.content_string):
            path = in_repository(source.src_uri, link['path'])
            if path and not path.startswith('docs/') and files.get_file_from_path(in_site(path)) is None:
                page, *figures = files_of(path, config)
                queue.append(page)
                for file in (page, *figures):
                    files.append(file)
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn links between files of the repository into links between pages of the site."""
    here = page.file.src_uri

    def in_page(link):
        path = in_repository(here, link['path'])
        if path is None:
            return link[0]
        return link['start'] + relpath(in_site(path), Path(here).parent) + (link['anchor'] or '')

    return LINK.sub(in_page, markdown)


def in_repository(page, link):
    """Path in the repository of what a page links to, None if there is no such file."""
    page = page.removeprefix('repository/') if page.startswith('repository/') else f'docs/{page}'
    path = normpath(Path(page).parent / link)
    return path if (ROOT / path).exists() and not path.startswith('..') else None


def in_site(path):
    """Path in the site of a path in the repository."""
    if path.startswith('docs/'):
        return path.removeprefix('docs/')
    return f'repository/{path}' + ('' if path.endswith('.md') else '.md')


def files_of(path, config):
    """The page that shows a file or folder, and its figures."""
    source = ROOT / path
    if path.endswith('.md'):
        return [File.generated(config, in_site(path), abs_src_path=str(source))]
    if path.endswith('.ipynb'):
        text, figures = as_markdown(source)
        folder = Path(in_site(path)).parent
        return [File.generated(config, in_site(path), content=text), *(
            File.generated(config, f'{folder}/{name}', content=figure) for name, figure in figures.items())]
    if source.is_dir():
        # Subfolders are listed, but get no pages: results have hundreds.
        names = sorted(child.name for child in source.iterdir() if child.is_file())
        folders = sorted(f'{child.name}/' for child in source.iterdir() if child.is_dir() and child.name[0] not in '._')
        text = '\n'.join([*(f'- [{name}]({source.name}/{name})' for name in names), *(f'- {name}' for name in folders)])
    else:
        text = f'~~~~~~{LANGUAGES.get(source.suffix, "text")}\n{source.read_text()}\n~~~~~~'
    return [File.generated(config, in_site(path), content=f'{HIDDEN}# `{path}`\n\n{text}\n')]
