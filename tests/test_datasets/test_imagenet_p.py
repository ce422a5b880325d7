from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.runner import Runner

from mmgcp.datasets.imagenet_p import ImageNetP
from mmgcp.registry import DATASETS
from mmgcp.utils.errors import SetupError

T = 11


def draw(seed: int, frames: int = T) -> list[np.ndarray]:
    """Frames of uint8 (16, 16, 3) that differ."""
    return list(np.random.default_rng(seed).integers(256, size=(frames, 16, 16, 3), dtype=np.uint8))


def write_folder(folder: Path, frames: list[np.ndarray]) -> None:
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f'frame_{number}.png'), frame)


def write_video(path: Path, frames: list[np.ndarray], codec: str = 'mp4v') -> None:
    """Write a video; a codec of AVI files is found by its content, whatever the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_suffix('.mp4' if codec == 'mp4v' else '.avi')
    writer = cv2.VideoWriter(str(made), cv2.VideoWriter_fourcc(*codec), 10, (64, 64))
    for frame in frames:
        writer.write(cv2.resize(frame, (64, 64)))
    writer.release()
    made.rename(path)


@pytest.fixture
def root(tmp_path) -> Path:
    for seed, name in enumerate(['cat/a', 'cat/b', 'dog/a']):
        write_folder(tmp_path / 'tilt' / name, draw(seed))
    return tmp_path


@pytest.fixture
def videos(tmp_path) -> Path:
    for seed, name in enumerate(['cat/a', 'cat/b', 'dog/a']):
        write_video(tmp_path / 'tilt' / f'{name}.mp4', draw(seed))
    return tmp_path


def build(root, perturbation='tilt', **kwargs):
    return DATASETS.build(dict(type='mmgcp.ImageNetP', data_root=str(root), perturbation=perturbation, **kwargs))


@pytest.mark.parametrize('workers', [0, 2])
def test_frames_in_order(root, workers):
    loader = Runner.build_dataloader(dict(
        dataset=build(root, difficulty=3), batch_size=2, num_workers=workers,
        collate_fn=dict(type='mmgcp.collate_sequences'), sampler=dict(type='DefaultSampler', shuffle=False)))
    batches = list(loader)
    assert [len(batch['inputs']) for batch in batches] == [2 * T, T]
    inputs, samples = ([item for batch in batches for item in batch[key]] for key in ('inputs', 'data_samples'))
    expected = [(name, label, number, frame) for seed, (name, label) in enumerate(
        [('cat/a', 0), ('cat/b', 0), ('dog/a', 1)]) for number, frame in enumerate(draw(seed))]
    for image, sample, (name, label, number, frame) in zip(inputs, samples, expected, strict=True):
        assert (sample.perturbation, sample.difficulty, sample.sequence) == ('tilt', 3, name)
        assert (sample.frame, sample.frames, sample.gt_label.item()) == (number, T, label)
        assert sample.img_shape == (16, 16) and 'unreadable' not in sample
        np.testing.assert_array_equal(image.permute(1, 2, 0), frame)


def test_videos_and_folders_may_be_mixed(root):
    frames = draw(7)
    write_video(root / 'tilt' / 'cat' / 'c.d.mp4', frames)
    dataset = build(root)
    item = dataset[2]
    assert len(dataset) == 4 and [sample['data_samples'].frame for sample in item] == list(range(T))
    assert {sample['data_samples'].sequence for sample in item} == {'cat/c.d'}
    # mp4v is lossy, but not so much that one would take a frame for another, or red for blue.
    for sample, frame in zip(item, frames, strict=True):
        difference = sample['inputs'].permute(1, 2, 0).numpy() - cv2.resize(frame, (64, 64)).astype(float)
        assert np.abs(difference).mean() < 25


def test_transforms_run_on_each_frame(root):
    pipeline = [dict(type='Resize', scale=(8, 8)), dict(type='PackInputs')]
    with pytest.raises(SetupError, match='Resize would change files that were resized and cropped before'):
        build(root, pipeline=pipeline)
    item = build(root, pipeline=pipeline, resize_again=True)[2]
    for sample, frame in zip(item, draw(2), strict=True):
        np.testing.assert_array_equal(sample['inputs'].permute(1, 2, 0), cv2.resize(frame, (8, 8)))


def test_noise_has_a_folder_for_each_difficulty(tmp_path):
    write_folder(tmp_path / 'shot_noise_2' / 'cat' / 'a', draw(0))
    assert build(tmp_path, 'shot_noise', difficulty=2)[0][0]['data_samples'].perturbation == 'shot_noise'
    with pytest.raises(SetupError, match='shot_noise does not exist'):
        build(tmp_path, 'shot_noise')
    with pytest.raises(SetupError, match='shot_noise_3 does not exist'):
        build(tmp_path, 'shot_noise', difficulty=3)
    with pytest.raises(SetupError, match='difficulty=4'):
        build(tmp_path, 'shot_noise', difficulty=4)
    with pytest.raises(SetupError, match="no perturbation 'fog'"):
        build(tmp_path, 'fog')


def test_classes(root):
    dataset = build(root, classes=['dog', 'cat'])
    assert dataset.metainfo['classes'] == ('dog', 'cat')
    assert [item[0]['data_samples'].gt_label.item() for item in dataset] == [1, 1, 0]
    with pytest.raises(SetupError, match=r'not those of the training: 1 missing \(emu\) and 1 unknown \(dog\)'):
        build(root, classes=['cat', 'emu'])
    (root / 'tilt' / 'cow').mkdir()
    with pytest.raises(SetupError, match='cow holds no sequences'):
        build(root)


def test_labels_are_not_guessed_from_part_of_imagenets_classes(root):
    (root / 'tilt/cat').rename(root / 'tilt/n01440764')
    (root / 'tilt/dog').rename(root / 'tilt/n02102040')
    with pytest.raises(SetupError, match="2 of ImageNet's 1,000 class folders"):
        build(root)
    (root / 'tilt/misc').mkdir()  # a folder beside them does not make them others
    with pytest.raises(SetupError, match="3 of ImageNet's 1,000 class folders"):
        build(root)


def test_hidden_files_and_folders_are_skipped(root):
    expected = len(build(root)), len(build(root)[1])
    (root / 'tilt/.ipynb_checkpoints').mkdir()
    (root / 'tilt/cat/.ipynb_checkpoints').mkdir()
    (root / 'tilt/cat/._a.mp4').write_bytes(b'left by macOS')
    (root / 'tilt/cat/b/._frame_1.png').write_bytes(b'left by macOS')
    assert (len(build(root)), len(build(root)[1])) == expected


def test_sequence_that_is_there_twice(root):
    write_video(root / 'tilt' / 'cat' / 'a.mp4', draw(0))
    with pytest.raises(SetupError, match='cat/a is there as a video and as a folder'):
        build(root)


@pytest.mark.parametrize('unreadable', ['stop', 'skip'])
def test_sequences_of_unequal_length(root, unreadable):
    (root / 'tilt/cat/b/frame_10.png').unlink()
    dataset = build(root, unreadable=unreadable)
    assert len(dataset[0]) == len(dataset[2]) == T
    with pytest.raises(SetupError, match='cat/b has 10 frames, but the first sequence has 11'):
        dataset[1]


def check_unreadable(root, index, message):
    with pytest.raises(SetupError, match=f"{message}: put a whole file there, or set unreadable='skip'"):
        build(root)[index]
    dataset = build(root, unreadable='skip')
    for number, (sample, stand_in) in enumerate(zip(dataset[index], dataset[(index + 1) % 3], strict=True)):
        tags = sample['data_samples']
        assert tags.unreadable and (tags.frame, tags.frames) == (number, T)
        assert tags.sequence == ['cat/a', 'cat/b', 'dog/a'][index] and tags.gt_label.item() == [0, 0, 1][index]
        assert 'unreadable' not in stand_in['data_samples']
        torch.testing.assert_close(sample['inputs'], stand_in['inputs'])


@pytest.mark.parametrize('index', [0, 2])
def test_unreadable_frame(root, index):
    name = ['cat/a', 'cat/b', 'dog/a'][index]
    (root / 'tilt' / name / 'frame_3.png').write_bytes(b'')
    check_unreadable(root, index, f'image .*{name}/frame_3.png cannot be read')


def test_folder_without_frames(root):
    for file in (root / 'tilt/cat/b').iterdir():
        file.unlink()
    check_unreadable(root, 1, 'sequence .*cat/b holds no images')


@pytest.mark.parametrize('index', [0, 1])
def test_broken_video(videos, index):
    path = videos / 'tilt' / ['cat/a.mp4', 'cat/b.mp4'][index]
    path.write_bytes(path.read_bytes()[:500])
    check_unreadable(videos, index, f'video {path} cannot be decoded')


def test_video_that_is_cut_off(videos):
    path = videos / 'tilt/dog/a.mp4'
    write_video(path, draw(2), codec='MJPG')
    # The header is whole and tells of 11 frames.
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    check_unreadable(videos, 2, rf'video {path} is cut off: \d of its 11 frames can be decoded')


def test_nothing_readable(videos):
    for path in videos.rglob('*.mp4'):
        path.write_bytes(b'')
    with pytest.raises(SetupError, match='a.mp4 cannot be decoded, nor can any other of the 3'):
        ImageNetP(str(videos), 'tilt', unreadable='skip')[0]
