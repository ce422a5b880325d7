import pytest

from mmgcp.utils import versions as module


def versions(**installed):
    return lambda name: installed.get(name.replace('-', '_'), '')


def test_one_line_of_libraries_passes_silently(monkeypatch, recwarn):
    for line in (dict(mmengine='0.10.7', mmcv='2.1.0', mmpretrain='1.2.0', mmdet='3.3.0'),
                 dict(onedl_mmengine='0.10.12', onedl_mmcv='2.3.6', onedl_mmpretrain='1.3.6rc1'), {}):
        monkeypatch.setattr(module, '_version', versions(**line))
        module.check_versions()
    assert not recwarn.list


def test_two_lines_at_once_are_refused(monkeypatch):
    monkeypatch.setattr(module, '_version', versions(mmengine='0.10.7', onedl_mmengine='0.10.12'))
    with pytest.raises(ImportError, match='mmengine and onedl-mmengine are both installed and overwrite each other'):
        module.check_versions()


@pytest.mark.parametrize('name, version, supported', [
    ('mmengine', '0.8.2', '>= 0.10.7, < 1'),
    ('mmengine', '1.0.0', '>= 0.10.7, < 1'),
    ('mmcv', '2.2.0', '>= 2.1, < 2.2'),  # mmdet 3.3.0 refuses it
    ('onedl_mmpretrain', '1.3.5rc6', '>= 1.3.6, < 2'),
])
def test_untested_versions_warn(name, version, supported, monkeypatch):
    monkeypatch.setattr(module, '_version', versions(**{name: version}))
    name = name.replace('_', '-')
    with pytest.warns(UserWarning, match=f'^{name} {version} was never tested .* {name} {supported}: install [^.]*\\.'):
        module.check_versions()


@pytest.mark.parametrize('installed, line', [
    (dict(onedl_mmengine='0.10.12', onedl_mmcv='2.3.6'), 'maintained'),
    (dict(mmengine='0.10.7'), 'original'),
    (dict(mmengine='0.10.7', onedl_mmcv='2.3.6'), 'maintained and original'),
    ({}, 'none'),
])
def test_line_of_the_installed_libraries(installed, line, monkeypatch):
    monkeypatch.setattr(module, '_version', versions(**installed))
    assert module.installed_line() == line


def test_libraries_that_do_not_import_say_why(tmp_path, monkeypatch):
    (tmp_path / 'broken.py').write_text("raise AssertionError('MMCV==2.2.0 is used\\nbut incompatible')")
    (tmp_path / 'whole.py').write_text("__version__ = '1.2'")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(module, 'LIBRARIES', ('broken', 'whole', 'mmgcp_is_no_such_library'))
    made = module.library_versions()
    assert made == dict(broken='does not import: AssertionError: MMCV==2.2.0 is used', whole='1.2')
