"""The tool that makes ImageNet-C and ImageNet-P of an image folder."""
import runpy
import sys

import numpy as np
import pytest
from PIL import Image

from .conftest import ROOT

pytest.importorskip('imagecorruptions')
TOOL = str(ROOT / 'tools/dataset_tools/corrupt.py')
SIZES = ('--resize', '0', '--crop', '32')


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the tool in a folder with the images clean/{cat,dog}/{0,1}.png and returns what it prints."""
    for index in range(4):
        path = tmp_path / 'clean' / ('cat', 'dog')[index // 2] / f'{index % 2}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(index).integers(0, 256, (40, 36, 3), np.uint8)).save(path)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['corrupt.py', 'clean', *arguments])
        runpy.run_path(TOOL, run_name='__main__')
        return capsys.readouterr().out

    return run


def test_imagenet_c(run, tmp_path):
    arguments = ('c', *SIZES, '--corruptions', 'fog', 'contrast', '--extra', '--severities', '1', '5', '--workers', '0')
    printed = run(*arguments)
    assert f'4 images x 12 sets: 48 to write to {tmp_path / "c"}, 0 are there' in printed
    assert '48 written, 0 existed.' in printed
    assert {path.name for path in (tmp_path / 'c').iterdir() if path.is_dir()} == {
        'fog', 'contrast', 'speckle_noise', 'gaussian_blur', 'spatter', 'saturate'}
    assert len(list((tmp_path / 'c').glob('*/[15]/*/*.JPEG'))) == 48
    assert '0 written, 48 existed.' in run(*arguments)


def test_imagenet_p(run, tmp_path):
    printed = run('p', *SIZES, '--benchmark', 'imagenet-p', '--perturbations', 'tilt', 'shot_noise', '--frames', '3',
                  '--difficulty', '2', '--workers', '0')
    assert '8 written, 0 existed.' in printed
    assert len(list((tmp_path / 'p').glob('tilt/*/*/00[012].jpg'))) == 12
    assert len(list((tmp_path / 'p').glob('shot_noise_2/*/*/00[012].jpg'))) == 12


def test_processes_write_the_same_files(run, tmp_path, monkeypatch):
    arguments = (*SIZES, '--corruptions', 'glass_blur', 'gaussian_noise', '--severities', '2', '--format', 'png')
    run('one', *arguments, '--workers', '0')
    (tmp_path / 'clean/dog/bad.png').touch()
    monkeypatch.setenv('NUMBA_DISABLE_JIT', '1')  # each process would compile glass_blur for longer than it runs
    with pytest.raises(SystemExit, match=r'^\nStopped: 1 of 5 images cannot be read: .*bad.png'):
        run('two', *arguments, '--workers', '2')
    files = sorted(path.relative_to(tmp_path / 'one') for path in (tmp_path / 'one').rglob('*.png'))
    assert len(files) == 8
    assert all((tmp_path / 'one' / file).read_bytes() == (tmp_path / 'two' / file).read_bytes() for file in files)


def test_mistakes_end_in_one_sentence(run, capsys):
    with pytest.raises(SystemExit, match=r"^\nStopped: there is no corruption 'mist': .*\.$"):
        run('c', '--corruptions', 'mist', '--workers', '0')
    with pytest.raises(SystemExit, match=r'^\nStopped: .* has 36 x 40 pixels, fewer than 224 a side: .*--resize\.$'):
        run('c', '--resize', '0', '--workers', '0')
    with pytest.raises(SystemExit):
        run('c', '--frames', '3')
    assert '--frames does not belong to imagenet-c' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run('c', '--benchmark', 'coco-c', '--crop', '32')
    assert '--crop does not belong to coco-c' in capsys.readouterr().err
