"""The tutorials: each runs from top to bottom with small settings, and is stored with outputs for the site."""
import base64
import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
SMALL = {
    'gcp_in_ten_minutes': dict(EPOCHS=1, TRAIN_PER_CLASS=2, VAL_PER_CLASS=1),
    'your_own_photos': dict(EPOCHS=1, DRAWN_PER_CLASS=3, IMAGE_SIZE=48),
    'detector_on_your_coco_file': dict(EPOCHS=1, PRETRAIN_EPOCHS=1, DRAWN_PER_CLASS=2, DRAWN_TRAIN=4, DRAWN_VAL=2),
}
TUTORIALS = sorted((ROOT / 'tutorials').glob('*.ipynb'))


def name_of(path):
    return path.stem


@pytest.fixture
def checkout(tmp_path):
    """A folder with the parts of the checkout that the tutorials use, where they may leave files."""
    for name in ('configs', 'tools'):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / 'tutorials').mkdir()
    return tmp_path


@pytest.mark.parametrize('path', TUTORIALS, ids=name_of)
def test_runs_from_top_to_bottom(path, checkout, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')])))
    notebook = nbformat.read(path, as_version=4)
    index, = [i for i, cell in enumerate(notebook.cells) if 'parameters' in cell.metadata.get('tags', ())]
    settings = SMALL[path.stem]
    assert all(f'{name} = ' in notebook.cells[index].source or f'{name}, ' in notebook.cells[index].source
               for name in settings)
    small = '\n'.join(f'{name} = {value!r}' for name, value in settings.items())
    notebook.cells.insert(index + 1, nbformat.v4.new_code_cell(small))
    NotebookClient(notebook, timeout=600, resources=dict(metadata=dict(path=checkout / 'tutorials'))).execute()


@pytest.mark.parametrize('path', TUTORIALS, ids=name_of)
def test_outputs_are_stored(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == 'code']
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))  # one run of all cells
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {'stream', 'execute_result', 'display_data'}  # no error
    figures = [output.data['image/jpeg'] for output in outputs if 'image/jpeg' in output.get('data', {})]
    assert len(figures) >= 2 and all(len(base64.b64decode(figure)) < 100_000 for figure in figures)
    text = ''.join(output.get('text', '') + output.get('data', {}).get('text/plain', '') for output in outputs)
    assert not re.search(r'/(home|root|tmp|usr|Users)/|Warning', text)


def test_a_notebook_becomes_a_page(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'tools/docs_site')
    from notebooks import as_markdown
    v4 = nbformat.v4
    pixels = base64.b64encode(b'pixels').decode()
    figure = v4.new_output('display_data', {'image/jpeg': pixels, 'text/plain': '<Figure>'})
    notebook = v4.new_notebook(cells=[
        v4.new_markdown_cell('# Title\n\n$x$'),
        v4.new_code_cell('%%bash\nls', outputs=[v4.new_output('stream', name='stdout', text='a\n'),
                                                v4.new_output('stream', name='stderr', text='b\n')]),
        v4.new_code_cell('# A line\nplot()\n1', outputs=[figure, v4.new_output('execute_result', {'text/plain': '1'})]),
    ])
    nbformat.write(notebook, tmp_path / 'book.ipynb')
    text, figures = as_markdown(tmp_path / 'book.ipynb')
    assert figures == {'book_1.jpg': b'pixels'}
    assert text.split('\n\n') == [
        '# Title', '$x$', '~~~~~~bash\n%%bash\nls\n~~~~~~', '~~~~~~text\na\nb\n~~~~~~',
        '~~~~~~python\n# A line\nplot()\n1\n~~~~~~', '![A line](book_1.jpg)', '~~~~~~text\n1\n~~~~~~\n']
