"""The tool that draws landscapes, run in this process."""
import json

import pytest

SETTINGS = dict(at='stem', layer='backbone.maxpool', direction='ascent', step_sizes=[1., 2.], interval=10, images=8)


@pytest.fixture
def run(analyse):
    """Runs the tool in a folder of its own and returns the lines that it prints."""
    return lambda *arguments: analyse('plot_landscape.py', *arguments).splitlines()


@pytest.fixture
def runs(tmp_path):
    """Work directories of two networks with two poolings each."""
    for name, (spread, scale) in dict(r_gap=(2, 1), r_gcp=(1, 1), m_gap=(4, 10), m_gcp=(3, 10)).items():
        folder = tmp_path / name / '20240101_000000' / 'landscape'
        folder.mkdir(parents=True)
        lines = [dict(settings=dict(SETTINGS, step_sizes=[scale, 2. * scale]))]
        lines += [dict(iter=10 * i, loss=1., gradient_norm=1., losses=[1., 1. + spread], distances=[0.5, 1.5],
                       smoothness=[4., 2.], seconds=0.25) for i in range(3)]
        (folder / 'stem.json').write_text('\n'.join(map(json.dumps, lines)))


def test_panels(run, runs, tmp_path):
    lines = run('--panel', 'MobileNetV2', 'm_gap', 'm_gcp', '--panel', 'ResNet-18', 'r_gap', 'r_gcp', '--labels', 'GAP',
                'GCP', '--at', 'stem', '--log', '--out', 'fig2.png', '--formats', 'svg')
    assert lines[0] == 'MobileNetV2' and lines[6] == 'ResNet-18'
    cells = [[cell.strip() for cell in lines[i].split('|')[1:6]] for i in (1, 3, 4, 9, 10)]
    assert cells[0] == ['run', 'measurements', 'last iteration', 'first loss range', 'later loss range']
    assert cells[1:] == [[name, '3', '20', str(spread), str(spread)]
                         for name, spread in [('GAP', 4), ('GCP', 3), ('GAP', 2), ('GCP', 1)]]
    assert lines[-1] == 'Figure: fig2.png fig2.svg'
    assert (tmp_path / 'fig2.png').stat().st_size > 5000


@pytest.mark.parametrize('arguments, sentence', [
    (['r_gap', 'm_gap'], "'r_gap' and 'm_gap' were measured with different step_sizes"),
    (['nowhere'], "'nowhere' holds no landscape"),
    (['r_gap', '--at', 'image'], "'r_gap' holds no landscape at 'image': there is stem"),
    ([], 'Give either WORK_DIR'),
])
def test_mistakes_end_in_one_sentence(run, runs, arguments, sentence, tmp_path):
    with pytest.raises(SystemExit, match=f'^\nStopped: {sentence}'):
        run(*arguments)
    assert not (tmp_path / 'landscape.png').exists()
