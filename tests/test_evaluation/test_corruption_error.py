"""Tests of CE and mCE against plain loops over their definitions."""
import json
import pickle
import zlib

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmpretrain.structures import DataSample

from mmgcp.evaluation.corruption_error import CorruptionError
from mmgcp.robustness.corruptions import (
    CORRUPTIONS,
    EXTRA_CORRUPTIONS,
    SEVERITIES,
    corruption_errors,
    load_corruption_reference,
)
from mmgcp.robustness.outcomes import pack_errors, unpack
from mmgcp.utils.errors import SetupError

ALEXNET = load_corruption_reference('alexnet')


def image(corruption, severity, scores, label, **tags):
    sample = DataSample(metainfo=dict(corruption=corruption, severity=severity, **tags))
    return sample.set_gt_label(label).set_pred_score(torch.as_tensor(scores))


def images(corruption, severity, wrong, total):
    """Images of two classes of which some are wrong."""
    return [image(corruption, severity, [0., 1.] if index < wrong else [1., 0.], 0) for index in range(total)]


def evaluate(samples, batch_size=7, **settings):
    evaluator = Evaluator(dict(type='mmgcp.CorruptionError', **settings))
    return evaluator.offline_evaluate(samples, chunk_size=batch_size)


@pytest.fixture(scope='module')
def file(tmp_path_factory):
    """Writes a reference."""
    folder = tmp_path_factory.mktemp('references')

    def write(content, name='reference.json'):
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return str(folder / name)

    return write


class TestDefinition:

    def test_alexnet_against_itself_is_100(self):
        errors = {corruption: dict(zip(SEVERITIES, shares, strict=True))
                  for corruption, shares in ALEXNET['errors'].items()}
        result = corruption_errors(errors, ALEXNET['clean'], ALEXNET)
        assert tuple(errors) == CORRUPTIONS == tuple(result.ce) == tuple(result.relative_ce)
        assert [result.mce, result.relative_mce] == pytest.approx([100, 100], abs=1e-10)
        assert [*result.ce.values(), *result.relative_ce.values()] == pytest.approx([100] * 30, abs=1e-10)
        plain = corruption_errors(errors, ALEXNET['clean'])
        assert plain.ce['fog'] == pytest.approx(100 * (0.67474 + 0.7605 + 0.84378 + 0.8726 + 0.945) / 5)
        assert plain.mce - plain.relative_mce == pytest.approx(43.478)

    def test_by_hand(self):
        reference = dict(source='', clean=0.25, errors={'fog': [0.5, 0.5, 0.75, 1, 1], 'snow': [0.5, 1, 1, 1, 1]})
        result = corruption_errors({'fog': {1: 0.25, 3: 0.5}, 'snow': {1: 0.25}}, 0.125, reference)
        assert result.ce == pytest.approx({'fog': 100 * 0.75 / 1.25, 'snow': 50})
        assert result.relative_ce == pytest.approx({'fog': 100 * 0.5 / 0.75, 'snow': 50})
        assert [result.mce, result.relative_mce] == pytest.approx([55, (200 / 3 + 50) / 2])
        assert corruption_errors({'fog': {1: 0.25, 3: 0.5}}) == ({'fog': 37.5}, 37.5, None, None)
        assert corruption_errors({'fog': {1: 0.25, 3: 0.5}}, 0.5) == ({'fog': 37.5}, 37.5, {'fog': -12.5}, -12.5)

    def test_extra_corruptions_are_in_no_mean(self):
        errors = {'spatter': {1: 1.}, 'fog': {1: 0.5}}
        assert corruption_errors(errors, 0.)[:2] == ({'spatter': 100, 'fog': 50}, 50)
        assert corruption_errors({'spatter': {1: 1.}}, 0.) == ({'spatter': 100}, None, {'spatter': 100}, None)
        assert not set(EXTRA_CORRUPTIONS) & set(CORRUPTIONS)

    @pytest.mark.parametrize('errors, clean, message', [
        ({'fog': {1: 37.5}}, None, "error on 'fog' at severity 1 must be a share in .0, 1., but is 37.5"),
        ({'fog': {1: float('nan')}}, None, 'must be a share'),
        ({'fog': {0: 0.5}}, None, r"'fog' must have errors at severities from 1 to 5, but has them at \[0\]"),
        ({'fog': {}}, None, 'severities from 1 to 5'),
        ({'fog': {1: 0.5}}, 12, 'the clean error must be a share in .0, 1., but is 12'),
        ({'spatter': {1: 0.5}}, None, "the reference has no errors on 'spatter': it has fog, snow"),
        ({'snow': {1: 0.5}}, None, "no error on 'snow' to divide by"),
        ({'fog': {1: 0.5}}, 0.1, "no error beyond its clean one on 'fog' to divide by"),
    ])
    def test_bad_input(self, errors, clean, message):
        reference = dict(source='', clean=0.5, errors={'fog': [0.5] * 5, 'snow': [0] * 5})
        with pytest.raises(ValueError, match=message):
            corruption_errors(errors, clean, reference)


class TestReference:

    def test_files(self, file):
        assert load_corruption_reference(file(ALEXNET)) == ALEXNET
        assert (ALEXNET['clean'], ALEXNET['errors']['jpeg_compression'][4]) == (0.43478, 0.74778)

    @pytest.mark.parametrize('content, message', [
        ('{"clean"', 'is not JSON'),
        ([1], 'must be a JSON object with source, clean, errors, but lacks source, clean, errors'),
        (dict(source='', clean=0.5), 'lacks errors'),
        (dict(source='', clean=50, errors={}), r"'clean' of .* must be a share in \[0, 1\], but is 50"),
        (dict(source='', clean=0.5, errors={}), "'errors' of .* must map corruptions to lists of shares"),
        (dict(source='', clean=0.5, errors={'fog': [0.5] * 4}), "must give five shares .* for 'fog', but gives"),
        (dict(source='', clean=0.5, errors={'fog': [50] * 5}), "five shares in .0, 1. for 'fog'"),
        ('{"source": "", "clean": 0.5, "errors": {"fog": [NaN, 1, 1, 1, 1]}}', "five shares in .0, 1. for 'fog'"),
    ])
    def test_bad_files(self, file, content, message):
        with pytest.raises(SetupError, match=message):
            load_corruption_reference(file(content))

    def test_missing_file(self):
        with pytest.raises(SetupError, match="the reference 'nowhere.json' cannot be read .No such file"):
            evaluate([], reference='nowhere.json')


class TestMetric:

    @pytest.mark.parametrize('classes', [10, 1000])
    def test_equals_plain_loops(self, device, classes):
        names = [('clean', 0), *((corruption, severity) for corruption in CORRUPTIONS for severity in SEVERITIES)]
        samples = []
        for name in names:
            for _ in range(5):
                scores = torch.rand(classes)
                label = int(scores.argmax()) if torch.rand(()) < 0.5 else int(torch.randint(classes, ()))
                samples.append(image(*name, scores.to(device), label))
        samples = [samples[index] for index in torch.randperm(len(samples))]
        metrics = evaluate(samples)

        errors = {}
        for name in names:
            wrong = total = 0
            for sample in samples:
                if (sample.corruption, sample.severity) == name:
                    best = max(range(classes), key=sample.pred_score.tolist().__getitem__)
                    wrong += best != int(sample.gt_label)
                    total += 1
            errors[name] = wrong / total
            assert metrics[f'error/{name[0]}/{name[1]}'] == pytest.approx(100 * errors[name])
            assert metrics[f'images/{name[0]}/{name[1]}'] == 5
        ces, relative_ces = [], []
        for corruption in CORRUPTIONS:
            ours = theirs = our_rise = their_rise = 0
            for severity in SEVERITIES:
                ours += errors[corruption, severity]
                theirs += ALEXNET['errors'][corruption][severity - 1]
                our_rise += errors[corruption, severity] - errors['clean', 0]
                their_rise += ALEXNET['errors'][corruption][severity - 1] - ALEXNET['clean']
            ces.append(100 * ours / theirs)
            relative_ces.append(100 * our_rise / their_rise)
            assert metrics[f'CE/{corruption}'] == pytest.approx(ces[-1])
            assert metrics[f'relative_CE/{corruption}'] == pytest.approx(relative_ces[-1])
        assert metrics['mCE'] == pytest.approx(sum(ces) / 15)
        assert metrics['relative_mCE'] == pytest.approx(sum(relative_ces) / 15)
        assert len(metrics) == 2 * 76 + 2 * 15 + 2

    def test_the_reference_itself_is_100(self, file):
        wrong = {corruption: [6 + (index + severity) % 14 for severity in SEVERITIES]
                 for index, corruption in enumerate(CORRUPTIONS)}
        reference = file(dict(source='counted', clean=5 / 20, errors={
            corruption: [count / 20 for count in counts] for corruption, counts in wrong.items()}))
        samples = images('clean', 0, 5, 20)
        for corruption, counts in wrong.items():
            for severity in SEVERITIES:
                samples += images(corruption, severity, counts[severity - 1], 20)
        metrics = evaluate(samples, reference=reference)
        assert [metrics['mCE'], metrics['relative_mCE']] == pytest.approx([100, 100], abs=1e-10)
        metrics = evaluate(samples[20:], reference=reference, clean_error=0.25, prefix='c')
        assert [metrics['c/mCE'], metrics['c/relative_mCE']] == pytest.approx([100, 100], abs=1e-10)
        metrics = evaluate(samples[20:], reference=None)
        # A mean that AlexNet's errors do not divide is not called mCE.
        assert metrics['mean_error'] == pytest.approx(100 * sum(map(sum, wrong.values())) / 75 / 20)
        assert not any('CE' in name or 'relative' in name for name in metrics)

    def test_partial_sets(self):
        samples = [*images('clean', 0, 0, 4), *images('fog', 1, 1, 4), *images('fog', 3, 2, 4),
                   *images('snow', 5, 4, 4)]
        with pytest.warns(UserWarning, match=r'No mCE and relative_mCE without gaussian_noise, .*, snow \(1, 2, '
                                             r'3, 4\), frost, fog \(2, 4, 5\), brightness, .*set partial=True'):
            metrics = evaluate(samples)
        assert metrics['CE/fog'] == pytest.approx(100 * 0.75 / (0.67474 + 0.84378))
        assert not any('mCE' in name for name in metrics)
        partial = evaluate(samples, partial=True)
        assert {name for name in partial if name not in metrics} == {'partial_mCE', 'partial_relative_mCE'}
        assert partial['partial_mCE'] == pytest.approx((partial['CE/fog'] + 100 / 0.94952) / 2)
        assert partial['partial_relative_mCE'] == pytest.approx(
            (partial['relative_CE/fog'] + 100 / (0.94952 - 0.43478)) / 2)

    def test_clean_images_alone(self):
        assert evaluate(images('clean', 0, 1, 4)) == {'error/clean/0': 25, 'images/clean/0': 4}

    def test_extra_corruptions(self, file):
        samples = [*images('fog', 1, 1, 2), *images('spatter', 2, 1, 4)]
        metrics = evaluate(samples, partial=True)
        assert metrics['error/spatter/2'] == 25 and 'CE/spatter' not in metrics
        reference = file(dict(source='', clean=0, errors={'fog': [1] * 5, 'spatter': [0.5] * 5}))
        metrics = evaluate(samples, partial=True, reference=reference)
        assert [metrics[name] for name in ('CE/spatter', 'CE/fog', 'partial_mCE')] == [50, 50, 50]
        assert evaluate(samples, partial=True, reference=None)['mean_error/spatter'] == 25

    def test_unreadable_images_are_counted_and_left_out(self):
        lost = [image('fog', 1, [0., 1.], 0, unreadable=True) for _ in range(3)]
        lost.append(DataSample(metainfo=dict(corruption='snow', severity=1, unreadable=True)))
        metrics = evaluate([*lost[:2], *images('fog', 1, 1, 4), *lost[2:]], batch_size=2, reference=None, partial=True)
        assert metrics == {'unreadable/fog/1': 3, 'images/fog/1': 4, 'error/fog/1': 25, 'unreadable/snow/1': 1,
                           'mean_error/fog': 25, 'partial_mean_error': 25}

    def test_outcomes_of_each_photo(self):
        samples = [image('fog', 1, [0., 1.], label, img_path=f'{folder}/{label}/{stem}.JPEG')
                   for folder, stem, label in (('val', 'b', 0), ('val', 'c', 1), ('val', 'a', 1), ('val', 'd', 0))]
        samples[1].set_metainfo(dict(unreadable=True))
        evaluator = Evaluator(dict(type='mmgcp.CorruptionError', partial=True))
        evaluator.offline_evaluate([*samples, *images('snow', 2, 1, 9)])
        outcomes = evaluator.metrics[0].outcomes
        assert set(outcomes) == {'fog/1', 'snow/2'}
        assert unpack(outcomes['fog/1'], 4)['error'].tolist() == [0, 1, 2 / 3, 1]  # a, b, c (the mean), d
        assert unpack(outcomes['snow/2'], 9)['error'].tolist() == [1] + 8 * [0]
        # Another layout and order, but the same photos.
        files = ['c/a.png', 'x/b.jpg', 'd.png', 'c.png']
        again = pack_errors(files, [False, True, True, None])
        assert json.loads(json.dumps(again)) == outcomes['fog/1']
        assert pack_errors(['e.png', *files[1:]], [False] * 4)['photos'] != again['photos']
        assert pack_errors(['caf\udce9.png'], [True]) == dict(photos=zlib.crc32(b'caf\xe9'), wrong='80')  # not UTF-8

    def test_clean_images_need_no_tags(self):
        samples = [DataSample().set_gt_label(label).set_pred_score(torch.eye(2)[0]) for label in (0, 1, 1, 1)]
        assert evaluate(samples, clean=True) == {'error/clean/0': 75, 'images/clean/0': 4}

    def test_of_equal_scores_the_first_class_counts(self, device):
        samples = [image('fog', 1, torch.tensor([0.2, 0.4, 0.4], device=device), label) for label in (1, 1, 1, 2)]
        assert evaluate(samples, reference=None, partial=True)['error/fog/1'] == 25

    def test_scores_of_classes_that_the_data_lack_are_ignored(self, device):
        scores = torch.tensor([[0.9, 0.5, 0.2, 0.4], [0.9, 0.1, 0.8, 0.3], [0.1, 0.2, 0.3, 0.9]], device=device)
        samples = [image('clean', 0, row, label) for row, label in zip(scores, (1, 3, 3), strict=True)]
        evaluator = Evaluator(dict(type='mmgcp.CorruptionError'))
        evaluator.dataset_meta = dict(classes=tuple('abcd'), labels=(1, 3))
        # Among b and d: b, d, d; of all four: a, a, d.
        assert evaluator.offline_evaluate(samples)['error/clean/0'] == 0
        evaluator.dataset_meta = dict(classes=tuple('abcd'))
        assert evaluator.offline_evaluate(samples)['error/clean/0'] == pytest.approx(200 / 3)

    def test_sets_of_c_bar_are_named_if_they_are_missing(self):
        with pytest.warns(UserWarning, match='No mean_error without blue_noise_sample, .*, sparkles .1, 3, 4, 5.: '):
            metrics = evaluate(images('sparkles', 2, 1, 4), reference=None)
        assert metrics['mean_error/sparkles'] == 25 and 'mean_error' not in metrics

    def test_two_processes_give_what_one_gives(self):
        samples = [sample.to_dict() for sample in (*images('fog', 1, 3, 8), *images('snow', 2, 1, 6))]
        parts = []
        for rank in range(2):
            metric = CorruptionError(partial=True)
            metric.process(None, samples[rank::2])
            parts.append(pickle.loads(pickle.dumps(metric.results)))
        results = [result for pair in zip(*parts, strict=True) for result in pair]
        metric.results = list(results)
        assert metric.evaluate(14) == CorruptionError(partial=True).compute_metrics(results)
        assert results[0] == ('fog', 1, 'an image', True) and metric.compute_metrics(results)['error/fog/1'] == 37.5

    @pytest.mark.parametrize('sample, message', [
        (DataSample(), "must carry 'corruption', 'severity': .* or add the names to meta_keys of PackInputs"),
        (DataSample(metainfo=dict(corruption='fog', severity=1)), "the network gives no 'pred_score'"),
        (image('fog', 0, [0., 1.], 0), "'fog' has no severity 0: corrupted images have 1 to 5"),
        (image('clean', 1, [0., 1.], 0), "'clean' has no severity 1"),
        (image('fog', 1, [0., 1.], 2), 'data have the label 2, but the network knows 2 classes'),
        (image('fog', 1, [0., float('nan')], 0, img_path='a/b.png'), 'the network gives NaN for a/b.png'),
    ])
    def test_bad_samples(self, sample, message):
        with pytest.raises(SetupError, match=message):
            evaluate([*images('fog', 1, 1, 2), sample] if 'pred_score' in sample else [sample])

    def test_other_classes_than_those_of_the_network(self):
        evaluator = Evaluator(dict(type='mmgcp.CorruptionError'))
        evaluator.dataset_meta = dict(classes=('cat', 'dog', 'emu'))
        with pytest.raises(SetupError, match='the data have 3 classes and the network 2, so that labels do not mean'):
            evaluator.process(images('fog', 1, 1, 2))

    def test_bad_settings(self, file):
        with pytest.raises(SetupError, match='clean_error must be a share in .0, 1., but is 43.5'):
            evaluate([], clean_error=43.5)
        with pytest.raises(SetupError, match='has seen no images'):
            evaluate([])
        reference = file(dict(source='', clean=0, errors={'fog': [1] * 5}))
        with pytest.raises(SetupError, match="the reference has no errors on 'snow': give a reference"):
            evaluate(images('snow', 1, 1, 2), reference=reference)
