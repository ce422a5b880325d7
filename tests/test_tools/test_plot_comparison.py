"""The tool that compares trainings at a glance, run in this process."""
import json

from PIL import Image


def test_hidden_files_are_no_pictures(analyse, tmp_path):
    log = tmp_path / 'run/20240101_000000/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text(json.dumps({'accuracy/top1': 50., 'step': 1}))
    for name in ('cat', '.ipynb_checkpoints'):
        (tmp_path / 'images' / name).mkdir(parents=True)
        (tmp_path / 'images' / name / '.DS_Store').write_bytes(b'left by macOS')
    Image.new('RGB', (32, 32)).save(tmp_path / 'images/cat/0.png')
    assert analyse('plot_comparison.py', 'run', '--labels', 'a', '--images', 'images') == 'Figure: comparison.png\n'
