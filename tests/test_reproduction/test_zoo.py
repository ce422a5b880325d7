"""Metafiles and tables agree with the configs, with the paper, and with what the libraries read."""
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from mmengine.analysis import parameter_count

import mmgcp  # noqa: F401
from mmgcp.apis.complexity import Complexity, build_network, complexity
from mmgcp.utils.configs import configs_folder
from mmgcp.utils.errors import SetupError
from reproduction.zoo import __main__ as command
from reproduction.zoo.index import check, load_many, network_key, read_index, revisions, update
from reproduction.zoo.model_tables import model_table

from ..shortcuts import no_initial_weights

ROOT = configs_folder().parent
MODELS = {model['Name']: model for metafile in read_index(ROOT) for model in metafile.models}
PLAIN = 'shufflenetv2_gap_imagenet'
SETTINGS = {'norm': 'LR_norm', 'fast': 'LR_fast', 'adju': 'LR_adju'}


def silent(_: str) -> None:
    """Log nothing."""


def test_repository_is_up_to_date():
    """Of detectors the parameters, once for GCP_D and GCP_M: their FLOPs take minutes, and one is tested below.

    Networks of timm are not counted where it is missing.
    """
    pytest.importorskip('mmdet')

    def measure(cfg):
        recorded = MODELS[Path(cfg.filename).stem]['Metadata']
        if cfg.model.backbone.type == 'TIMMBackbone' and not find_spec('timm'):
            return Complexity(recorded['Parameters'], recorded['FLOPs'])
        if cfg.default_scope == 'mmpretrain':
            return complexity(cfg)
        if cfg.model.backbone.conv5_downsample == 'max_pool':
            return Complexity(recorded['Parameters'], recorded['FLOPs'])
        return Complexity(parameter_count(build_network(cfg))[''], recorded['FLOPs'])

    with no_initial_weights():
        assert [revision.changes for revision in revisions(ROOT, measure=measure, log=silent)] == []


def test_configs_of_one_network_share_a_key():
    pytest.importorskip('mmdet')
    names = [f'detection/faster_rcnn_r50_{name}' for name in ('gap', 'gcp_d', 'gcp_d_wo-ds', 'gcp_m')]
    names += ['gcp/resnet18_gcp_imagenet', 'gap/resnet18_gap_imagenet']
    keys = [network_key(cfg) for cfg in load_many([configs_folder() / f'{name}.py' for name in names])]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert keys[4] != keys[5]


def test_flops_of_a_detector():
    pytest.importorskip('mmdet')
    cfg, = load_many([configs_folder() / 'detection/faster_rcnn_r18_gap.py'])
    assert complexity(cfg).flops == MODELS['faster_rcnn_r18_gap']['Metadata']['FLOPs']


def test_learning_rates_are_those_of_the_names():
    for name, model in MODELS.items():
        match = re.search(r'_lr-(norm|fast|adju)(-release)?$', name)
        if match:
            expected = SETTINGS[match[1]] + (' (release)' if match[2] else '')
        elif name.endswith('_kfac'):
            expected = 'K-FAC'
        elif name.endswith('_imagenet'):
            expected = 'LR_norm' if '_gap' in name else 'LR_adju'
        else:
            expected = None
        assert model['Metadata'].get('Learning Rate') == expected


def test_nothing_published_stands_in_the_results():
    assert all(result['Metrics'] == {} for model in MODELS.values() for result in model['Results'])


def row(readme: str, name: str) -> dict[str, str]:
    """Cells of a table's row by column; columns of one name become a list."""
    lines = [[cell.strip() for cell in line.strip('|').split('|')]
             for line in (configs_folder() / readme).read_text().splitlines() if line.startswith('|')]
    at, = (number for number, line in enumerate(lines) if line[0] == f'[{name}]')
    header = next(line for line in reversed(lines[:at]) if line[0] == 'config')
    cells = {}
    for column, cell in zip(header, lines[at], strict=True):
        cells[column] = f'{cells[column]} {cell}' if column in cells else cell
    return cells


@pytest.mark.parametrize('folder, name, paper, tables', [
    ('gap', 'mobilenetv2_gap_imagenet', '71.58 / 90.30', '2'),
    ('gcp', 'mobilenetv2_gcp_imagenet', '73.97 / 91.54', '2, 5'),
    ('gcp', 'mobilenetv2_gcp_128_imagenet_lr-norm', '73.28 / 91.30', '5'),
    ('gap', 'shufflenetv2_gap_imagenet', '67.96 / 87.84', '2'),
    ('gcp', 'shufflenetv2_gcp_imagenet', '71.17 / 89.74', '2'),
    ('gap', 'resnet50_gap_imagenet', '76.17 / 92.93', '2'),
    ('gap', 'resnet50_gap_imagenet_kfac', '75.10', '2'),
    ('gcp', 'resnet50_gcp_imagenet_lr-fast', '75.31 / 92.15', '2'),
    ('gcp', 'resnet50_gcp_imagenet_lr-norm', '78.56 / 94.16', '5, 8'),
    ('gcp', 'resnet50_gcp_128_imagenet', '77.64 / 93.67', '5'),
    ('gcp', 'resnet50_gcp_d_imagenet_lr-norm', '78.10 / 94.09', '8'),
    ('gcp', 'resnet18_gcp_imagenet_lr-norm', '75.47 / 92.23', '8'),
    ('gcp', 'resnet101_gcp_imagenet', '79.18 / 94.51', '2'),
    ('gcp', 'mobilenetv2_gcp_imagenet_lr-norm', '74.36 / 91.90', '5'),
    ('gcp', 'mobilenetv2_gcp_128_imagenet', '72.58 / 90.90', '5'),
    ('gap', 'resnet18_gap_imagenet', '70.47 / 89.62', '2'),
    ('gcp', 'resnet18_gcp_imagenet', '74.86 / 91.81', '2'),
    ('gcp', 'resnet18_gcp_d_imagenet_lr-norm', '74.48 / 91.68', '8'),
    ('gap', 'resnet34_gap_imagenet', '74.19 / 91.61', '2'),
    ('gcp', 'resnet34_gcp_imagenet', '76.81 / 93.09', '2'),
    ('gcp', 'resnet50_gcp_imagenet', '78.03 / 93.95', '2, 5'),
    ('gcp', 'resnet50_gcp_128_imagenet_lr-norm', '78.21 / 93.93', '5'),
    ('gap', 'resnet101_gap_imagenet', '77.67 / 93.89', '2'),
    ('gcp', 'resnet101_gcp_imagenet_lr-norm', '79.48 / 94.75', '8'),
    ('gcp', 'resnet101_gcp_d_imagenet_lr-norm', '79.11 / 94.56', '8'),
    ('gcp', 'resnet50_gcp_m_imagenet', '', ''),
    ('gcp', 'mobilenetv2_gcp_imagenet_lr-adju-release', '', ''),
])
def test_accuracies_of_the_paper(folder, name, paper, tables):
    cells = row(f'{folder}/README.md', name)
    assert (cells['paper: top-1 / top-5'], cells['tables']) == (paper, tables)
    assert cells['ours: top-1 / top-5'] == ''


@pytest.mark.parametrize('folder, name, release', [
    ('gcp', 'resnet18_gcp_imagenet_lr-norm', '[75.48 / 92.23][ResNet18_GCP_LRnorm]'),
    ('gcp', 'resnet50_gcp_imagenet', '[78.03 / 93.95][ResNet50_GCP_LRadju]'),
    ('gcp', 'mobilenetv2_gcp_128_imagenet', '[72.58 / 90.87][MobileNetV2_GCP_LRadju_128]'),
    ('gap', 'resnet101_gap_imagenet_lr-fast', '[73.13 / 91.06][ResNet101_GAP_LRfast]'),
    ('gap', 'shufflenetv2_gap_imagenet_lr-adju', '[67.15 / 87.35][ShuffleNetV2_GAP_LRadju]'),
    ('gcp', 'resnet18_gcp_m_imagenet', ''),
])
def test_accuracies_of_the_release(folder, name, release):
    assert row(f'{folder}/README.md', name)['release: top-1 / top-5'] == release


def test_each_released_model_has_its_link():
    links = {}
    for model in MODELS.values():
        release = model['Metadata'].get('Published', {}).get('Release')
        if release:
            links.setdefault(release['Model'], set()).add(release['Checkpoint'])
    assert len(links) == 40 and all(len(targets) == 1 for targets in links.values())
    assert len(set.union(*links.values())) == 40


@pytest.mark.parametrize('name, box, mask, tables', [
    ('faster_rcnn_r50_gap', '36.4 58.2 39.2 21.8 40.0 46.2', None, '6'),
    ('faster_rcnn_r50_gcp_d_wo-ds', '36.6 58.4 39.5 21.3 40.8 47.0', None, '6, 8'),
    ('faster_rcnn_r50_gcp_m_wo-ds', '37.1 59.1 39.9 22.0 40.9 47.6', None, '6'),
    ('faster_rcnn_r50_gcp_d_w-ds', '36.8 58.5 39.7   ', None, '8'),
    ('faster_rcnn_r101_gap', '38.7 60.6 41.9 22.7 43.2 50.4', None, '6'),
    ('faster_rcnn_r101_gcp_d_wo-ds', '39.5 60.7 43.1 22.9 44.1 51.4', None, '6, 8'),
    ('faster_rcnn_r101_gcp_d_w-ds', '39.6 60.9 43.4   ', None, '8'),
    ('faster_rcnn_r101_gcp_m_wo-ds', '39.6 61.2 43.1 23.3 43.9 51.3', None, '6'),
    ('faster_rcnn_r18_gcp_d_w-ds', '30.3 51.0 32.2   ', None, '8'),
    ('faster_rcnn_r18_gcp_d_wo-ds', '30.0 50.7 31.4   ', None, '8'),
    ('faster_rcnn_r50_gcp_m', '     ', None, ''),
    ('mask_rcnn_r50_gap', '37.2 58.9 40.3 22.2 40.7 48.0', '34.1 55.5 36.2 16.1 36.7 50.0', '6, 7'),
    ('mask_rcnn_r50_gcp_d_wo-ds', '37.3 58.8 40.4 22.0 41.1 48.2', '34.2 55.3 36.4 15.8 37.1 50.1', '6, 7'),
    ('mask_rcnn_r101_gcp_m_wo-ds', '40.7 62.0 44.6 23.9 45.2 52.9', '36.7 58.7 39.1 17.6 39.9 53.7', '6, 7'),
    ('mask_rcnn_r50_gcp_m_wo-ds', '37.9 59.4 41.3 22.4 41.5 49.0', '34.7 56.3 36.8 16.4 37.5 50.6', '6, 7'),
    ('mask_rcnn_r101_gap', '39.4 60.9 43.3 23.0 43.7 51.4', '35.9 57.7 38.4 16.8 39.1 53.6', '6, 7'),
    ('mask_rcnn_r101_gcp_d_wo-ds', '40.3 61.5 44.0 24.1 44.7 52.5', '36.5 58.2 38.9 17.3 39.9 53.5', '6, 7'),
])
def test_precisions_of_the_paper(name, box, mask, tables):
    cells = row('detection/README.md', name)
    others = [cells[size].split(' ') for size in ('AP50', 'AP75', 'AP_S', 'AP_M', 'AP_L')]
    assert ' '.join([cells['paper: box AP'], *(other[0] for other in others)]) == box
    if mask:
        assert ' '.join([cells['paper: mask AP'], *(other[1] for other in others)]) == mask
    assert cells['tables'] == tables and cells['ours: box AP'] == ''


@pytest.mark.parametrize('name, weights', [
    ('faster_rcnn_r50_gcp_m', 'resnet50_gcp_m_imagenet'),
    ('mask_rcnn_r101_gcp_m_wo-ds', 'resnet101_gcp_imagenet_lr-norm'),
    ('faster_rcnn_r18_gcp_d_w-ds', 'resnet18_gcp_d_imagenet_lr-norm'),
])
def test_weights_that_a_detector_starts_from(name, weights):
    assert row('detection/README.md', name)['starts from'] == weights
    assert weights in MODELS


def test_our_results_fill_their_column():
    model = dict(MODELS[PLAIN], Results=[dict(Task='Image Classification', Dataset='ImageNet-1k',
                                              Metrics={'Top 1 Accuracy': 68.1, 'Top 5 Accuracy': 88.})])
    assert model_table([model]).splitlines()[2].endswith(' 68.10 / 88.00 |')
    model = dict(MODELS['retinanet_r50_gap'], Results=[dict(Task='Object Detection', Dataset='COCO',
                                                            Metrics={'box AP': 36.25})])
    assert model_table([model]).splitlines()[2].endswith(' 36.2 |')


def test_mmpretrain_finds_the_models(monkeypatch):
    from mmpretrain import list_models
    from mmpretrain.apis import ModelHub
    monkeypatch.setattr(ModelHub, '_models_dict', {})
    monkeypatch.setattr(ModelHub, '_ModelHub__mmpretrain_registered', True)
    ModelHub.register_model_index(ROOT / 'model-index.yml', config_prefix=ROOT)
    assert set(list_models()) == set(MODELS)
    assert 'resnet50_gcp_m_imagenet' in list_models(task='Image Classification')
    assert 'faster_rcnn_r50_gcp_m' in list_models(task='Object Detection')
    assert list_models(task='Instance Segmentation') == list_models('mask_rcnn')
    assert ModelHub.get('resnet50_gcp_m_imagenet').config.model.backbone.conv5_downsample == 'max_pool'


def test_model_index_has_no_faults():
    from modelindex.load_model_index import load
    index = load(str(ROOT / 'model-index.yml'))
    # Paths of READMEs are relative to the repository, as in MMPretrain's metafiles, which modelindex does not expect.
    assert [fault for fault in index.check(silent=True) if 'Path to README' not in fault] == []
    assert all((ROOT / collection.readme).is_file() for collection in index.collections)
    assert len(list(index.models)) == len(MODELS)


def test_mmengine_finds_the_configs(tmp_path):
    from mmengine.config.utils import _get_cfg_metainfo
    (tmp_path / '.mim').symlink_to(ROOT)
    for config in ('gcp/resnet50_gcp_m_imagenet.py', 'detection/faster_rcnn_r50_gcp_m.py'):
        assert _get_cfg_metainfo(str(tmp_path), config)['Config'] == f'configs/{config}'


@pytest.fixture
def zoo(tmp_path) -> Path:
    """A small model zoo: two configs of one network, up to date."""
    shutil.copytree(configs_folder() / '_base_', tmp_path / 'configs/_base_', ignore=shutil.ignore_patterns('*cache*'))
    folder = tmp_path / 'configs/gap'
    folder.mkdir()
    names = (PLAIN, f'{PLAIN}_lr-fast')
    for name in names:
        shutil.copy(configs_folder() / f'gap/{name}.py', folder)
    content = yaml.safe_load((configs_folder() / 'gap/metafile.yml').read_text())
    content['Models'] = [model for model in content['Models'] if model['Name'] in names]
    (folder / 'metafile.yml').write_text('# By hand.\n' + yaml.safe_dump(content, sort_keys=False))
    (folder / 'README.md').write_text('# GAP\n\n<!-- table -->\n<!-- /table -->\n\nThe end.\n')
    (tmp_path / 'model-index.yml').write_text('Import: [configs/gap/metafile.yml]\n')
    update(tmp_path, measure=measure, log=silent)
    return tmp_path


def measure(cfg) -> Complexity:
    """Costs of the small zoo's network, told at once."""
    metadata = MODELS[PLAIN]['Metadata']
    return Complexity(metadata['Parameters'], metadata['FLOPs'])


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_update_once_and_check(zoo):
    check(zoo, measure=measure, log=silent)
    assert update(zoo, measure=measure, log=silent) == []
    readme = (zoo / 'configs/gap/README.md').read_text()
    assert readme.startswith('# GAP\n\n<!-- table -->\n| config ') and readme.endswith('<!-- /table -->\n\nThe end.\n')
    assert f'\n[{PLAIN}_lr-fast]: {PLAIN}_lr-fast.py\n' in readme


def test_update_mends_what_is_computed_and_keeps_what_is_written_by_hand(zoo):
    path = zoo / 'configs/gap/metafile.yml'
    before = yaml.safe_load(path.read_text())
    for field in ('Epochs', 'Batch Size', 'Parameters', 'FLOPs'):
        path.write_text(re.sub(rf'{field}: \d+', f'{field}: 1', path.read_text(), count=1))
    changes = update(zoo, measure=measure, log=silent)
    assert [change.split(':')[0] for change in changes] == [PLAIN] * 4
    assert f'{PLAIN}: Epochs is 240, not 1' in changes
    assert path.read_text().startswith('# By hand.\nCollections:\n  - Name: ResNet GAP\n')
    assert yaml.safe_load(path.read_text()) == before


def test_update_adds_an_entry_for_a_new_config(zoo):
    path = zoo / 'configs/gap/metafile.yml'
    before = yaml.safe_load(path.read_text())
    before['Models'][1]['Metadata'].pop('Published')
    remove_entry(zoo)
    update(zoo, measure=measure, log=silent)
    assert yaml.safe_load(path.read_text()) == before


def test_one_network_is_counted_once(zoo):
    counted, told = [], []

    def count(cfg):
        counted.append(network_key(cfg))
        return measure(cfg)

    check(zoo, measure=count, log=told.append)
    assert len(counted) == 1
    assert told[-1].startswith(f'Network 1 of 1 ({PLAIN}): 2,278,604 parameters, ')


def remove_entry(zoo):
    path = zoo / 'configs/gap/metafile.yml'
    content = yaml.safe_load(path.read_text())
    del content['Models'][1]
    path.write_text(yaml.safe_dump(content))


def repeat_entry(zoo):
    path = zoo / 'configs/gap/metafile.yml'
    content = yaml.safe_load(path.read_text())
    content['Models'].append(content['Models'][0])
    path.write_text(yaml.safe_dump(content))


def in_metafile(old, new):
    return lambda zoo: edit(zoo / 'configs/gap/metafile.yml', old, new)


def in_readme(old, new):
    return lambda zoo: edit(zoo / 'configs/gap/README.md', old, new)


@pytest.mark.parametrize('disagree, sentence', [
    (lambda zoo: (zoo / f'configs/gap/{PLAIN}.py').unlink(), f'{PLAIN}: there is no config configs/gap/{PLAIN}.py'),
    (remove_entry, f'out of date: {PLAIN}_lr-fast: Epochs is 60, not None'),
    (repeat_entry, f'{PLAIN}: it is there twice'),
    (lambda zoo: (zoo / 'configs/other.py').write_text(''),
     'configs/other.py has no entry in a metafile; correct the entries by hand'),
    (lambda zoo: (zoo / 'configs/gap/vgg11_gap_imagenet.py').write_text(''), 'vgg11_gap_imagenet.py has no entry'),
    (lambda zoo: (zoo / 'configs/gap/resnet50_gcp_imagenet.py').write_text(''), "there is no collection 'ResNet GCP'"),
    (in_metafile(f'Name: {PLAIN}\n', 'Name: other\n'), f'other: its config is called {PLAIN}'),
    (in_metafile('In Collection: ShuffleNetV2 GAP', 'In Collection: GAP'), "there is no collection 'GAP'"),
    (in_metafile('Results:', 'Result:'), f"the entry {PLAIN} has no 'Results': add it"),
    (in_metafile('Models:', 'Model:'), 'metafile.yml has no list of Models'),
    (in_metafile('Epochs: 240', 'Epochs: 7'), f'out of date: {PLAIN}: Epochs is 240, not 7; update it with: python'),
    (in_metafile('Batch Size: 1024', 'Batch Size: 7'), 'Batch Size is 1024, not 7'),
    (in_metafile('Parameters: 2278604', 'Parameters: 7'), 'Parameters is 2278604, not 7; update it'),
    (in_metafile('FLOPs: ', 'FLOPs: 7'), r'FLOPs is \d+, not 7\d+'),
    (in_metafile('67.96', '68.96'), 'a table of gap/README.md is out of date'),
    (in_readme(' 67.96 /', ' 68.96 /'), 'a table of gap/README.md is out of date'),
    (lambda zoo: edit(zoo / 'configs/_base_/schedules/shufflenetv2_lr_fast.py', 'max_epochs=60', 'max_epochs=61'),
     f'{PLAIN}_lr-fast: Epochs is 61, not 60'),
    (in_readme('<!-- table -->', '<!-- table: ResNet GAP -->'), f'no table shows {PLAIN}: add the lines'),
    (in_readme('<!-- table -->', '<!-- table: VGG -->'), "a table is for collection 'VGG', the metafile has ResNet"),
    (lambda zoo: (zoo / 'configs/gap/README.md').unlink(), 'README.md'),
    (lambda zoo: (zoo / 'configs/gap/metafile.yml').unlink(), 'metafile.yml does not exist'),
    (in_metafile('Models:', 'Models: ['), 'metafile.yml is not YAML'),
])
def test_disagreements(zoo, disagree, sentence):
    disagree(zoo)
    before = {path: path.read_text() for path in zoo.rglob('*.*') if path.is_file()}
    with pytest.raises(SetupError, match=sentence):
        check(zoo, measure=measure, log=silent)
    assert {path: path.read_text() for path in zoo.rglob('*.*') if path.is_file()} == before


def test_command(zoo, monkeypatch, capsys):
    monkeypatch.setattr(command, 'ROOT', zoo)
    monkeypatch.setattr('sys.argv', ['zoo', '--check'])
    command.main()
    assert capsys.readouterr().out.endswith('The model zoo is up to date.\n')
    edit(zoo / 'configs/gap/metafile.yml', 'Epochs: 240', 'Epochs: 7')
    with pytest.raises(SystemExit, match=rf'^\nStopped: the model zoo is out of date: {PLAIN}: Epochs is 240, not 7'):
        command.main()
    monkeypatch.setattr('sys.argv', ['zoo'])
    command.main()
    assert f'{PLAIN}: Epochs is 240, not 7\n' in capsys.readouterr().out
