"""Corrupted versions of an image folder: their pixels, resumption, and what is refused."""
import json
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.dataset import Compose
from PIL import Image

import mmgcp.datasets.transforms  # noqa: F401  registers
from mmgcp.datasets import recipe as recipes
from mmgcp.datasets.corrupt_folder import load_image, make_folder, source_images
from mmgcp.datasets.corruptions import corrupt_image, image_seed
from mmgcp.datasets.perturbations import perturb_image
from mmgcp.datasets.recipe import CorruptedSet, PerturbedSet, Recipe
from mmgcp.robustness.corruptions import CORRUPTIONS, EXTRA_CORRUPTIONS
from mmgcp.utils.errors import SetupError

pytest.importorskip('imagecorruptions')
SIZES = dict(resize=48, crop=40)


@pytest.fixture
def source(tmp_path) -> Path:
    """Two classes with two images each, of unequal sizes and kinds."""
    folder, rng = tmp_path / 'clean', np.random.default_rng(0)
    for index, name in enumerate(('cat/one.jpg', 'cat/two.png', 'dog/one.png', 'dog/two.JPEG')):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (6, 7 + index, 3), np.uint8)
        Image.fromarray(cv2.resize(coarse, (70, 60 + 10 * index))).save(folder / name)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@pytest.mark.parametrize('backend', ['pillow', 'cv2'])
def test_png_files_are_what_the_pipeline_gives(source, tmp_path, backend):
    sets = [CorruptedSet(corruption, 2) for corruption in (*CORRUPTIONS, *EXTRA_CORRUPTIONS)]
    recipe = Recipe(source, 'imagenet-c', **SIZES, backend=backend, format='png', seed=3)
    report = make_folder(tmp_path / 'c', recipe, sets, log=str)
    assert (report.written, report.present, report.unreadable) == (4 * len(sets), 0, [])
    for corruption, severity in sets:
        pipeline = Compose([
            dict(type='LoadImageFromFile'), dict(type='ResizeEdge', scale=48, edge='short', backend=backend),
            dict(type='CenterCrop', crop_size=40),
            dict(type='mmgcp.Corrupt', corruption=corruption, severity=severity, seed=3), dict(type='PackInputs')])
        for image in source_images(source):
            inputs = pipeline(dict(img_path=str(image)))['inputs'].numpy()
            path = tmp_path / 'c' / corruption / '2' / image.parent.name / f'{image.stem}.png'
            np.testing.assert_array_equal(cv2.imread(str(path)), inputs.transpose(1, 2, 0), err_msg=corruption)


def test_jpeg_has_the_published_name_and_the_quality(source, tmp_path):
    for quality in (85, 30):
        recipe = Recipe(source, 'imagenet-c', **SIZES, quality=quality)
        make_folder(tmp_path / str(quality), recipe, [CorruptedSet('contrast', 1)], log=str)
    high, low = (Image.open(tmp_path / quality / 'contrast/1/dog/two.JPEG') for quality in ('85', '30'))
    assert high.format == 'JPEG' and high.size == (40, 40)
    # Quality 85 scales the first entry of the standard table, 16, by 30 %; quality 30 by 5 / 3.
    assert (high.quantization[0][0], low.quantization[0][0]) == (5, 27)


def test_sizes_may_be_left_alone(source, tmp_path):
    recipe = Recipe(source, 'imagenet-c', resize=0, crop=0, format='png')
    make_folder(tmp_path / 'c', recipe, [CorruptedSet('contrast', 1)], log=str)
    assert Image.open(tmp_path / 'c/contrast/1/dog/two.png').size == (70, 90)


def test_coco_keeps_names_and_sizes(source, tmp_path):
    recipe = Recipe(source / 'dog', 'coco-c', resize=0, crop=0, quality=30)
    with pytest.raises(SetupError, match=r"one.png' keeps its name, by which the annotations know it, and cannot "
                                         r'become jpeg: choose the format of the images \(--format\)'):
        make_folder(tmp_path / 'c', recipe, [CorruptedSet('fog', 3)], log=str)
    (source / 'dog/one.png').unlink()
    assert make_folder(tmp_path / 'c', recipe, [CorruptedSet('fog', 3)], log=str).written == 1
    image = np.array(Image.open(source / 'dog/two.JPEG'))
    expected = tmp_path / 'expected.jpg'
    Image.fromarray(corrupt_image(image, 'fog', 3, image_seed(0, 'fog', 3, 'dog/two'))).save(
        expected, 'jpeg', quality=30, optimize=True)
    assert (tmp_path / 'c/fog/3/two.JPEG').read_bytes() == expected.read_bytes()
    assert make_folder(tmp_path / 'c', recipe, [CorruptedSet('fog', 3)], log=str).present == 1
    with pytest.raises(SetupError, match='images of COCO-C keep their size'):
        Recipe(source / 'dog', 'coco-c')
    with pytest.raises(SetupError, match="clean' holds no images: images must be in SOURCE/"):
        make_folder(tmp_path / 'd', Recipe(source, 'coco-c', resize=0, crop=0), [CorruptedSet('fog', 3)], log=str)


@pytest.mark.parametrize('perturbation, difficulty, folder', [('shot_noise', 2, 'shot_noise_2'), ('tilt', 2, 'tilt')])
def test_frames_are_the_sequence(source, tmp_path, perturbation, difficulty, folder):
    recipe = Recipe(source, 'imagenet-p', **SIZES, format='png', frames=4, seed=5)
    assert make_folder(tmp_path / 'p', recipe, [PerturbedSet(perturbation, difficulty)], log=str).written == 4
    image = load_image(source / 'cat/one.jpg', recipe)
    seed = image_seed(5, perturbation, 'cat/one')
    expected = perturb_image(image, perturbation, 4, difficulty, seed, recipe.cropped)
    frames = sorted((tmp_path / 'p' / folder / 'cat/one').iterdir())
    assert [path.name for path in frames] == ['000.png', '001.png', '002.png', '003.png']
    np.testing.assert_array_equal([np.asarray(Image.open(path)) for path in frames], expected)


def test_videos_hold_all_frames(source, tmp_path):
    recipe = Recipe(source, 'imagenet-p', **SIZES, format='mp4', frames=6)
    make_folder(tmp_path / 'p', recipe, [PerturbedSet('brightness')], log=str)
    video = cv2.VideoCapture(str(tmp_path / 'p/brightness/dog/one.mp4'))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1][..., ::-1])
    assert len(frames) == 6
    expected = perturb_image(load_image(source / 'dog/one.png', recipe), 'brightness', 6, crop=recipe.cropped)
    # MP4 is lossy, and more so in colour.
    assert np.abs(np.array(frames, float).mean((1, 2)) - np.array(expected).mean((1, 2))).max() < 8


def test_a_video_that_is_cut_off_is_not_kept(source, tmp_path):
    recipe, sets = Recipe(source, 'imagenet-p', **SIZES, format='mp4', frames=6), [PerturbedSet('gaussian_noise')]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # bytes of a file, as a full disk would
    try:
        with pytest.raises(SetupError, match="the video 'one.mp4' could not be written whole: .* disk is full"):
            make_folder(tmp_path / 'p', recipe, sets, log=str)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    report = make_folder(tmp_path / 'p', recipe, sets, log=str)
    assert (report.written, report.present) == (4, 0)


@pytest.mark.parametrize('recipe, sets', [
    (dict(benchmark='imagenet-c'), [CorruptedSet('contrast', 1), CorruptedSet('gaussian_noise', 4)]),
    (dict(benchmark='imagenet-p', frames=3), [PerturbedSet('snow'), PerturbedSet('gaussian_noise', 3)]),
    (dict(benchmark='imagenet-p', frames=3, format='mp4'), [PerturbedSet('snow')]),
])
def test_interrupted_run_goes_on(source, tmp_path, monkeypatch, recipe, sets):
    recipe = Recipe(source, **recipe, **SIZES)
    make_folder(tmp_path / 'whole', recipe, sets, log=str)

    save, calls = Image.Image.save, []

    def fail_late(self, path, *args, **kwargs):
        calls.append(path)
        if len(calls) > 4:
            Path(path).write_bytes(b'half')
            raise KeyboardInterrupt
        save(self, path, *args, **kwargs)

    def fail_late_in_video(frames, path):
        fail_late(Image.fromarray(frames[0]), path, 'PNG')

    monkeypatch.setattr(Image.Image, 'save', fail_late)
    if recipe.format == 'mp4':
        calls += [0] * 4
        monkeypatch.setattr(recipes, '_save_video', fail_late_in_video)
    with pytest.raises(KeyboardInterrupt):
        make_folder(tmp_path / 'cut', recipe, sets, log=str)
    monkeypatch.undo()
    whole, cut = contents(tmp_path / 'whole'), contents(tmp_path / 'cut')
    assert cut.items() < whole.items()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / 'cut').rglob('*') if path.is_file()}
    lines = []
    report = make_folder(tmp_path / 'cut', recipe, sets, log=lines.append)
    assert contents(tmp_path / 'cut') == whole
    assert report.written + report.present == 4 * len(sets)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert f'4 images x {len(sets)} sets: {report.written} to write' in lines[0]
    assert make_folder(tmp_path / 'cut', recipe, sets, log=str).written == 0


def test_unreadable_images_are_named_after_all_others_are_written(source, tmp_path):
    (source / 'cat/bad.jpg').write_bytes(b'no image')
    (source / 'cat/empty.png').touch()
    (source / 'cat/._one.jpg').write_bytes(b'left by macOS')
    (source / '.ipynb_checkpoints').mkdir()
    recipe, sets = Recipe(source, 'imagenet-c', **SIZES), [CorruptedSet('contrast', 1)]
    with pytest.raises(SetupError, match=r'^2 of 6 images cannot be read: .*bad\.jpg, .*empty\.png; all others'):
        make_folder(tmp_path / 'c', recipe, sets, log=str)
    assert len(list((tmp_path / 'c').rglob('*.JPEG'))) == 4
    report = make_folder(tmp_path / 'c', recipe, sets, skip_unreadable=True, log=str)
    assert (report.written, report.present) == (0, 4)
    assert [Path(name).name for name in report.unreadable] == ['bad.jpg', 'empty.png']


def test_other_settings_are_not_mixed(source, tmp_path):
    sets = [CorruptedSet('contrast', 1)]
    make_folder(tmp_path / 'c', Recipe(source, 'imagenet-c', **SIZES), sets, log=str)
    before = contents(tmp_path / 'c')
    with pytest.raises(SetupError, match='was made with quality=85 instead of 90, seed=0 instead of 1: '):
        make_folder(tmp_path / 'c', Recipe(source, 'imagenet-c', **SIZES, quality=90, seed=1), sets, log=str)
    assert contents(tmp_path / 'c') == before
    (tmp_path / 'c/settings.json').write_text('[]x')
    with pytest.raises(SetupError, match='is not a file of settings'):
        make_folder(tmp_path / 'c', Recipe(source, 'imagenet-c', **SIZES), sets, log=str)
    (tmp_path / 'c/settings.json').unlink()
    with pytest.raises(SetupError, match='holds something else'):
        make_folder(tmp_path / 'c', Recipe(source, 'imagenet-c', **SIZES), sets, log=str)


def test_settings_are_kept(source, tmp_path):
    make_folder(tmp_path / 'c', Recipe(source, 'imagenet-c', **SIZES), [CorruptedSet('contrast', 1)], log=str)
    assert json.loads((tmp_path / 'c/settings.json').read_text()) == dict(
        source=str(source.resolve()), benchmark='imagenet-c', resize=48, backend='pillow', crop=40, format='jpeg',
        quality=85, frames=None, seed=0)


def test_settings_that_a_full_disk_cut_off(source, tmp_path):
    (tmp_path / 'c').mkdir()
    (tmp_path / 'c/settings.json.part').write_text('{')
    make_folder(tmp_path / 'c', Recipe(source, 'imagenet-c', **SIZES), [CorruptedSet('contrast', 1)], log=str)
    assert {path.name for path in (tmp_path / 'c').iterdir()} == {'settings.json', 'contrast'}


def test_source_must_be_an_image_folder(source, tmp_path):
    assert [path.name for path in source_images(source)] == ['one.jpg', 'two.png', 'one.png', 'two.JPEG']
    with pytest.raises(SetupError, match='has no class folders'):
        source_images(source / 'cat')
    with pytest.raises(SetupError, match=r"^'.*clean' holds no images"):
        source_images(source.parent)
    (source / 'cat/one.png').touch()
    with pytest.raises(SetupError, match=r"has 2 images called 'one'"):
        source_images(source)


@pytest.mark.parametrize('settings, told', [
    (dict(source='nowhere'), "the folder 'nowhere' does not exist"),
    (dict(format='mp4'), "'mp4' is not a format of imagenet-c: choose from jpeg, png"),
    (dict(resize=32, crop=40), 'crop=40 must not be more than resize=32'),
    (dict(crop=16), 'crop=16 must be at least 32 pixels, or 0'),
    (dict(quality=0), 'quality=0 must be between 1 and 100'),
    (dict(frames=1), 'frames=1 must be at least 2'),
])
def test_bad_settings(source, settings, told):
    with pytest.raises(SetupError, match=told):
        Recipe(**(dict(source=source, benchmark='imagenet-c') | settings))


def test_too_small_images_and_nested_folders_are_told(source, tmp_path):
    sets = [CorruptedSet('contrast', 1)]
    with pytest.raises(SetupError, match='has 70 x 60 pixels, fewer than 64 a side: enlarge'):
        make_folder(tmp_path / 'c', Recipe(source, 'imagenet-c', resize=0, crop=64), sets, log=str)
    with pytest.raises(SetupError, match='is in the source folder'):
        make_folder(source / 'c', Recipe(source, 'imagenet-c'), sets, log=str)
    with pytest.raises(SetupError, match="there is no corruption 'mist'"):
        make_folder(tmp_path / 'c', Recipe(source, 'imagenet-c'), [CorruptedSet('mist', 1)], log=str)
    for path in source.rglob('*.*'):
        path.write_bytes(b'')
    with pytest.raises(SetupError, match='none of the 4 images .* can be read'):
        make_folder(tmp_path / 'c', Recipe(source, 'imagenet-c'), sets, log=str)
    assert not (tmp_path / 'c').exists()
