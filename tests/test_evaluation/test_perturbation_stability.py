"""Tests of flip probability and top-5 distance against plain loops over their definitions."""
import json
import pickle

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmpretrain.structures import DataSample
from scipy.stats import rankdata

from mmgcp.evaluation import common
from mmgcp.evaluation.perturbation_stability import PerturbationStability, rank_top5
from mmgcp.robustness.outcomes import unpack
from mmgcp.robustness.perturbations import (
    NOISES,
    PERTURBATIONS,
    flip_probability,
    load_perturbation_reference,
    stability,
    top5_distance,
)
from mmgcp.utils.errors import SetupError

FIRST, SWAPPED, SHIFTED, OTHERS = [0, 1, 2, 3, 4], [1, 0, 2, 3, 4], [5, 0, 1, 2, 3], [5, 6, 7, 8, 9]


def sequence(perturbation, scores, name='a/1', difficulty=1, **tags):
    """Samples of the frames that have these scores, (T, classes)."""
    return [DataSample(metainfo=dict(perturbation=perturbation, sequence=name, frame=frame, frames=len(scores),
                                     difficulty=difficulty, **tags)).set_pred_score(row)
            for frame, row in enumerate(torch.as_tensor(scores))]


def evaluate(sequences, per_batch=2, **settings):
    """Metrics of sequences that come some to a batch."""
    evaluator = Evaluator(dict(type='mmgcp.PerturbationStability', **settings))
    for start in range(0, len(sequences), per_batch):
        evaluator.process([frame for frames in sequences[start:start + per_batch] for frame in frames])
    return evaluator.evaluate(len(sequences))


def pairs_by_definition(frames, noise, difficulty):
    """Neighbours of the interleaved sub-sequences, or each frame with the first."""
    if noise:
        return [(frames[0], frame) for frame in frames[1:]]
    return [(part[index - 1], part[index]) for start in range(difficulty) for part in [frames[start::difficulty]]
            for index in range(1, len(part))]


def distance_by_definition(earlier, later):
    """Double sum over the permutation that leads from the earlier to the later ranking of all classes."""
    sigma = {}
    for rank_before, rank_after in zip(rankdata(-earlier, 'ordinal'), rankdata(-later, 'ordinal'), strict=True):
        sigma[int(rank_before)] = int(rank_after)
    distance = 0
    for i in range(1, 6):
        for j in range(min(i, sigma[i]) + 1, max(i, sigma[i]) + 1):
            distance += 1 <= j - 1 <= 5
    return distance


class TestFlipProbability:

    @pytest.mark.parametrize('top1, noise, difficulty, expected', [
        ([1, 1, 2, 2, 1], False, 1, 2 / 4),
        ([1, 1, 2, 2, 1], False, 2, 3 / 3),
        ([1, 1, 2, 2, 1], False, 3, 1 / 2),
        ([1, 2, 2, 2], False, 1, 1 / 3),
        ([1, 2, 2, 2], True, 1, 3 / 3),
        ([1, 2, 2, 1, 1], True, 2, 2 / 4),
        ([1, 2, 2, 1, 1], True, 3, 2 / 4),
        ([7, 7], False, 1, 0),
    ])
    def test_by_hand(self, top1, noise, difficulty, expected):
        assert flip_probability(top1, noise, difficulty) == pytest.approx(expected)

    def test_bad_input(self):
        with pytest.raises(ValueError, match='the difficulty must be 1, 2 or 3, but is 4'):
            flip_probability([1] * 9, False, 4)
        with pytest.raises(ValueError, match='a sequence of 2 frames is too short: frames 2 apart are compared'):
            flip_probability([1, 1], False, 2)
        with pytest.raises(ValueError, match='a sequence of 1 frames is too short'):
            flip_probability([1], True, 2)
        with pytest.raises(ValueError, match=r'must have 1 dimension\(s\), got the shape \(2, 2\)'):
            flip_probability([[1, 1], [1, 1]], False)


class TestTop5Distance:

    @pytest.mark.parametrize('earlier, later, expected', [
        (FIRST, FIRST, 0),
        (FIRST, SWAPPED, 2),
        (FIRST, SHIFTED, 5),
        (SHIFTED, FIRST, 9),
        (FIRST, OTHERS, 15),
        ([0, 1, 2], [2, 1, 0], 4),
    ])
    def test_one_pair(self, earlier, later, expected):
        assert top5_distance([earlier, later], noise=False) == top5_distance([earlier, later], noise=True) == expected

    @pytest.mark.parametrize('noise, difficulty, expected', [
        (False, 1, (2 + 2 + 15) / 3),
        (False, 2, (0 + 15) / 2),
        (False, 3, 15),
        (True, 1, (2 + 0 + 15) / 3),
        (True, 3, (2 + 0 + 15) / 3),
    ])
    def test_sequence(self, noise, difficulty, expected):
        assert top5_distance([FIRST, SWAPPED, FIRST, OTHERS], noise, difficulty) == pytest.approx(expected)

    def test_bad_input(self):
        with pytest.raises(ValueError, match='takes the five best classes of each frame, got 10'):
            top5_distance(torch.zeros(3, 10), False)
        with pytest.raises(ValueError, match=r'must have 2 dimension\(s\), got the shape \(3,\)'):
            top5_distance([1, 2, 3], False)


class TestRanking:

    def test_of_equal_scores_the_lower_class_comes_first(self, device):
        scores = torch.tensor([[1, 3, 3, 2, 3, 2, 2], [0, 0, 0, 0, 0, 0, 0]], dtype=torch.float32, device=device)
        assert rank_top5(scores).tolist() == [[1, 2, 4, 3, 5], [0, 1, 2, 3, 4]]

    def test_equals_scipys_ordinal_ranks(self, device):
        scores = torch.randint(8, (20, 1000)).float()
        ranks = rankdata(-scores.numpy(), 'ordinal', axis=1)
        assert rank_top5(scores.to(device)).tolist() == np.argsort(ranks, axis=1)[:, :5].tolist()

    def test_fewer_than_five_classes(self):
        assert rank_top5(torch.tensor([[0.1, 0.7, 0.2]])).tolist() == [[1, 2, 0]]


class TestStability:

    def test_by_hand(self):
        flip, top5 = {'snow': 0.25, 'tilt': 0.5}, {'snow': 3., 'tilt': 1.}
        assert stability(flip, top5) == ({'snow': 25, 'tilt': 50}, 37.5, top5, 2)
        reference = dict(source='', difficulty=1, flip={'snow': 0.5, 'tilt': 0.5, 'scale': 1.},
                         top5={'snow': 4., 'tilt': 4., 'scale': 1.})
        assert stability(flip, top5, reference) == ({'snow': 50, 'tilt': 100}, 75, {'snow': 75, 'tilt': 25}, 50)
        assert stability(reference['flip'], reference['top5'], reference)[1::2] == (100, 100)
        assert stability({}, {}) == ({}, None, {}, None)

    @pytest.mark.parametrize('flip, top5, message', [
        ({'snow': 0.5}, {'tilt': 1.}, 'flip has snow and top5 tilt: both must have the same ones of gaussian_noise'),
        ({'sleet': 0.5}, {'sleet': 1.}, 'flip has sleet'),
        ({'snow': 50}, {'snow': 1.}, "'snow' must have a flip probability in .0, 1. .* but has 50 and 1.0"),
        ({'snow': 0.5}, {'snow': float('nan')}, 'distance of at least 0, but has 0.5 and nan'),
        ({'tilt': 0.5}, {'tilt': 1.}, "'flip' of 'tilt' is 0 in the reference"),
        ({'fog': 0.5}, {'fog': 1.}, 'flip has fog'),
        ({'scale': 0.5}, {'scale': 1.}, "'flip' of 'scale' is missing in the reference"),
    ])
    def test_bad_input(self, flip, top5, message):
        with pytest.raises(ValueError, match=message):
            stability(flip, top5, dict(flip={'snow': 0.5, 'tilt': 0.}, top5={'snow': 1., 'tilt': 1.}))


@pytest.fixture
def file(tmp_path):
    """Writes a reference."""

    def write(**content):
        (tmp_path / 'reference.json').write_text(json.dumps(content))
        return str(tmp_path / 'reference.json')

    return write


class TestReference:

    def test_alexnet_must_be_measured(self):
        with pytest.raises(SetupError, match='are not published: measure them by tools/test_robustness.py '
                                             'configs/robustness/alexnet_imagenet.py pretrained --benchmark '
                                             'imagenet-p, and give the JSON file'):
            PerturbationStability(reference='alexnet')

    @pytest.mark.parametrize('change, message', [
        (dict(difficulty=4), "'difficulty' of .* must be 1, 2 or 3, but is 4"),
        (dict(flip={'snow': 50}), r"'flip' of .* must map perturbations to shares in \[0, 1\]"),
        (dict(top5={'snow': -1}), "'top5' of .* must map perturbations to distances"),
        (dict(top5=[1]), "'top5' of .* must map perturbations to distances"),
    ])
    def test_bad_files(self, file, change, message):
        content = dict(source='', difficulty=1, flip={'snow': 0.5}, top5={'snow': 1})
        assert load_perturbation_reference(file(**content)) == content
        with pytest.raises(SetupError, match=message):
            load_perturbation_reference(file(**{**content, **change}))
        with pytest.raises(SetupError, match='lacks difficulty'):
            load_perturbation_reference(file(source='', flip={}, top5={}))


class TestMetric:

    @pytest.mark.parametrize('classes, difficulty', [(10, 1), (10, 2), (1000, 1), (1000, 3)])
    def test_equals_plain_loops(self, device, file, classes, difficulty):
        sequences, flip, top5 = [], {}, {}
        for perturbation in PERTURBATIONS:
            noise = perturbation in ('gaussian_noise', 'shot_noise')
            flips, distances = [], []
            for number in range(3):
                scores = (torch.randn(1, classes) + 0.3 * torch.randn(7, classes)).softmax(1)
                sequences.append(sequence(perturbation, scores.to(device), f'b/{number}', difficulty))
                pairs = pairs_by_definition(scores.numpy(), noise, difficulty)
                flips.append(sum(before.argmax() != after.argmax() for before, after in pairs) / len(pairs))
                distances.append(sum(distance_by_definition(*pair) for pair in pairs) / len(pairs))
            flip[perturbation], top5[perturbation] = float(np.mean(flips)), float(np.mean(distances))
        assert 0 < np.mean(list(flip.values())) < 1 and 0 < np.mean(list(top5.values())) < 15

        theirs = dict(flip={name: (index + 1) / 16 for index, name in enumerate(PERTURBATIONS)},
                      top5={name: index + 2 for index, name in enumerate(PERTURBATIONS)})
        metrics = evaluate(sequences, reference=file(source='', difficulty=difficulty, **theirs))
        for name in PERTURBATIONS:
            assert metrics[f'flip/{name}'] == pytest.approx(100 * flip[name])
            assert metrics[f'top5/{name}'] == pytest.approx(top5[name])
            assert metrics[f'sequences/{name}'] == 3
        assert metrics['mFR'] == pytest.approx(sum(100 * flip[name] / theirs['flip'][name] for name in flip) / 10)
        assert metrics['mT5D'] == pytest.approx(sum(100 * top5[name] / theirs['top5'][name] for name in top5) / 10)
        assert len(metrics) == 32 and NOISES == PERTURBATIONS[:2]

    def test_partial_sets(self, file):
        sequences = [sequence('snow', torch.eye(6)[[0, 1, 1]]), sequence('tilt', torch.eye(6)[[0, 1, 2]])]
        # The best classes are 01234, 10234, 10234 and 01234, 10234, 20134: distances 2, 0 and 2, 4.
        assert evaluate(sequences) == {'flip/snow': 50, 'top5/snow': 1, 'sequences/snow': 1,
                                       'flip/tilt': 100, 'top5/tilt': 3, 'sequences/tilt': 1}
        reference = file(source='', difficulty=1, flip={'snow': 0.5, 'tilt': 0.5}, top5={'snow': 2, 'tilt': 6})
        with pytest.warns(UserWarning, match='No mFR and mT5D without gaussian_noise, .*rotate, scale: measure'):
            assert 'mFR' not in evaluate(sequences, reference=reference)
        metrics = evaluate(sequences, reference=reference, partial=True, prefix='p')
        assert (metrics['p/partial_mFR'], metrics['p/partial_mT5D']) == (150, 50)

    def test_sequences_with_an_unreadable_frame_are_counted_named_and_left_out(self, monkeypatch):
        said = []
        monkeypatch.setattr(common, 'print_log', lambda text, *_: said.append(text))
        lost = sequence('snow', torch.eye(6)[[0, 1]], 'a/2')
        lost[1].set_metainfo(dict(unreadable=True))
        cut = sequence('tilt', torch.eye(6)[:1], 'a/3', unreadable=True)
        metrics = evaluate([lost, sequence('snow', torch.eye(6)[[0, 0, 0]]), cut], per_batch=3)
        assert metrics == {'unreadable/snow': 1, 'sequences/snow': 1, 'flip/snow': 0, 'top5/snow': 0,
                           'unreadable/tilt': 1}
        assert said == ["Unreadable and left out of 'snow': a/2", "Unreadable and left out of 'tilt': a/3"]

    def test_the_same_sequence_twice_in_a_batch_is_two(self):
        assert evaluate([sequence('snow', torch.eye(6)[[0, 1]])] * 2)['sequences/snow'] == 2

    def test_two_processes_give_what_one_gives(self):
        sequences = [sequence('snow', torch.rand(4, 10), f'a/{number}') for number in range(6)]
        parts = []
        for rank in range(2):
            metric = PerturbationStability()
            for frames in sequences[rank::2]:
                metric.process(None, [frame.to_dict() for frame in frames])
            parts.append(pickle.loads(pickle.dumps(metric.results)))
        results = [result for pair in zip(*parts, strict=True) for result in pair]
        assert len(results) == 6 and metric.compute_metrics(results) == evaluate(sequences)

    @pytest.mark.parametrize('perturbation, difficulty, pairs', [('snow', 1, 6), ('snow', 3, 4), ('shot_noise', 3, 6)])
    def test_outcomes_of_each_sequence(self, perturbation, difficulty, pairs):
        sequences = [sequence(perturbation, torch.rand(7, 9), f'a/{name}', difficulty) for name in (3, 1, 2, 4)]
        sequences.append(sequence(perturbation, torch.rand(7, 9), 'a/0', difficulty, unreadable=True))
        evaluator = Evaluator(dict(type='mmgcp.PerturbationStability'))
        evaluator.process([frame for frames in sequences for frame in frames])
        metrics = evaluator.evaluate(5)
        kept = json.loads(json.dumps(evaluator.metrics[0].outcomes[perturbation]))
        assert (kept['pairs'], kept['flip'][0], kept['top5'][0]) == (pairs, None, None)
        ranks = [rank_top5(torch.stack([frame.pred_score for frame in sequences[index]])).numpy()
                 for index in (1, 2, 0, 3)]
        noise = perturbation in NOISES
        outcomes = unpack(kept, 5)
        assert outcomes['flip'][1:].tolist() == pytest.approx([
            flip_probability(rank[:, 0], noise, difficulty) for rank in ranks])
        assert outcomes['top5'][1:].tolist() == pytest.approx([
            top5_distance(rank, noise, difficulty) for rank in ranks])
        assert 100 * outcomes['flip'].mean() == pytest.approx(metrics[f'flip/{perturbation}'])
        assert outcomes['top5'].mean() == pytest.approx(metrics[f'top5/{perturbation}'])

    @pytest.mark.parametrize('frames, message', [
        ([DataSample()], "must carry 'frame'"),
        ([DataSample(metainfo=dict(frame=0))], "must carry 'perturbation', 'sequence', 'difficulty'"),
        (sequence('sleet', torch.eye(6)), "no perturbation 'sleet' of difficulty 1: choose from gaussian_noise"),
        (sequence('snow', torch.eye(6), difficulty=4), "no perturbation 'snow' of difficulty 4"),
        (sequence('snow', torch.eye(6))[:4], "the 6 frames of the sequence 'a/1' of 'snow' must come in one batch"),
        (sequence('snow', torch.eye(6))[1:], 'must come in one batch, in order'),
        (sequence('snow', torch.eye(6))[:1] + sequence('snow', torch.eye(6), 'a/2')[1:], 'must come in one batch'),
        (sequence('snow', torch.eye(6)[:2], difficulty=2), r"'a/1' of 'snow' has 2 frame\(s\), too few for difficulty"),
        (sequence('snow', torch.full((2, 6), torch.nan), img_path='a/1.mp4'), 'the network gives NaN for a/1.mp4'),
    ])
    def test_bad_samples(self, frames, message):
        with pytest.raises(SetupError, match=message):
            evaluate([frames])

    def test_bad_data(self, file):
        snow = sequence('snow', torch.eye(6))
        with pytest.raises(SetupError, match='has seen no sequences'):
            evaluate([])
        with pytest.raises(SetupError, match=r'the data have difficulties \[1, 2\]: measure each separately'):
            evaluate([snow, sequence('tilt', torch.eye(6), difficulty=2)])
        with pytest.raises(SetupError, match="same length, but 'a/1' has 6 frames and 'a/2' 5"):
            evaluate([snow, sequence('snow', torch.eye(6)[:5], 'a/2')])
        values = dict(source='', flip={'snow': 0.5}, top5={'snow': 1})
        with pytest.raises(SetupError, match='the data have difficulty 1, but the reference 2'):
            evaluate([snow], reference=file(difficulty=2, **values))
        with pytest.raises(SetupError, match="must have a flip probability and a distance above 0 for 'tilt'"):
            evaluate([sequence('tilt', torch.eye(6))], reference=file(difficulty=1, **values))
