"""Tests of the numbers, tables, files and figures of robustness."""
import csv
import json

import numpy as np
import pytest
from matplotlib.figure import Figure

from mmgcp.analysis.robustness import (
    RobustnessResult,
    paired_error,
    per_image,
    reference_of,
    severity_curve,
    summaries,
)
from mmgcp.analysis.robustness_figure import draw_corruptions, draw_severities, plot_overview, plot_robustness
from mmgcp.analysis.robustness_tables import corruption_table, robustness_table, sample_note, write_csv, write_json
from mmgcp.analysis.table_4 import table_4
from mmgcp.robustness.catalogue import BENCHMARKS
from mmgcp.robustness.corruptions import CORRUPTIONS, load_corruption_reference
from mmgcp.robustness.outcomes import pack_errors, pack_flips
from mmgcp.robustness.perturbations import PERTURBATIONS
from mmgcp.robustness.perturbations import load_perturbation_reference as load_stability

REFERENCE = {'source': 'a reference', 'clean': 0.25, 'errors': {name: [0.5] * 5 for name in CORRUPTIONS}}


def classifier(name, error, clean=0.2, extra=None):
    """One error on all corruptions, but on fog a tenth of the severity."""
    sets = {} if clean is None else {'clean': {'error': clean, 'images': 10}}
    for severity in range(1, 6):
        for corruption in CORRUPTIONS:
            share = severity / 10 if corruption == 'fog' else error
            sets[f'{corruption}/{severity}'] = {'error': share, 'images': 10}
        if extra is not None:
            sets[f'saturate/{severity}'] = {'error': extra, 'images': 10}
    return RobustnessResult(name, 'imagenet-c', sets, ['bad.JPEG'])


def stable(name, flip, top5, difficulty=1):
    """One value on all perturbations, but twice the flips on tilt."""
    sets = {p: {'flip': 2 * flip if p == 'tilt' else flip, 'top5': top5, 'sequences': 4} for p in PERTURBATIONS}
    return RobustnessResult(name, 'imagenet-p', sets, difficulty=difficulty)


def detector(name, clean, corrupted):
    """One precision on all corruptions, but none on fog."""

    def entry(value):
        return {'coco/bbox_mAP': value, 'coco/bbox_mAP_50': 2 * value, 'coco/bbox_mAP_s': -1.,
                'coco/bbox_mAP_copypaste': f'{value}', 'coco/segm_mAP': value / 2}

    sets = {f'{c}/{s}': entry(0. if c == 'fog' else corrupted) for c in CORRUPTIONS for s in range(1, 6)}
    return RobustnessResult(name, 'coco-c', {'clean': entry(clean), **sets})


def part(result, *names):
    return result._replace(sets={name: result.sets[name] for name in names})


GAP, GCP = classifier('GAP', 0.4), classifier('GCP', 0.3, clean=0.15)


class TestClassifiers:

    def test_divided_by_a_reference(self):
        summary, = summaries([GAP], REFERENCE)
        # CE 2 / 2.5 and, on fog, 1.5 / 2.5; relative (2 - 1) / 1.25 and (1.5 - 1) / 1.25.
        assert summary.metrics == pytest.approx({'clean error': 20, 'mCE': (14 * 80 + 60) / 15,
                                                 'relative mCE': (14 * 80 + 40) / 15})
        assert summary.corruptions['fog'] == pytest.approx({'error': 30, 'CE': 60, 'relative CE': 40})
        assert summary.corruptions['snow'] == pytest.approx({'error': 40, 'CE': 80, 'relative CE': 80})
        assert list(summary.corruptions) == list(CORRUPTIONS)
        assert (summary.reference, summary.label('mCE')) == ('a reference', 'mCE')

    def test_without_reference(self):
        summary, = summaries([GAP])
        assert summary.metrics == pytest.approx({'clean error': 20, 'mean error': 590 / 15,
                                                 'relative mean error': 290 / 15})
        assert summary.corruptions['fog'] == pytest.approx({'error': 30, 'relative error': 10})

    def test_without_clean_images_nothing_is_relative(self):
        summary, = summaries([classifier('GAP', 0.4, clean=None)], REFERENCE)
        assert summary.metrics == pytest.approx({'mCE': 1180 / 15})
        assert summary.corruptions['fog'] == pytest.approx({'error': 30, 'CE': 60})

    def test_extra_corruptions_enter_no_mean(self):
        result = classifier('GAP', 0.4, extra=0.9)
        plain, = summaries([result])
        assert plain.metrics['mean error'] == pytest.approx(590 / 15)
        assert list(plain.corruptions)[-1] == 'saturate'
        assert summaries([result], REFERENCE)[0].corruptions['saturate'] == pytest.approx({'error': 90})
        known = {**REFERENCE, 'errors': {**REFERENCE['errors'], 'saturate': [0.5] * 5}}
        divided, = summaries([result], known)
        assert divided.corruptions['saturate'] == pytest.approx({'error': 90, 'CE': 180, 'relative CE': 280})
        assert divided.metrics['mCE'] == pytest.approx(1180 / 15)

    def test_the_errors_of_alexnet_are_100(self):
        alexnet = load_corruption_reference('alexnet')
        sets = {f'{name}/{severity}': {'error': error} for name, errors in alexnet['errors'].items()
                for severity, error in enumerate(errors, 1)}
        result = RobustnessResult('AlexNet', 'imagenet-c', {'clean': {'error': alexnet['clean']}, **sets})
        metrics = summaries([result], alexnet)[0].metrics
        assert (metrics['mCE'], metrics['relative mCE']) == pytest.approx((100, 100))
        assert reference_of(result) == {**alexnet, 'source': 'AlexNet on imagenet-c', 'subset': '', 'origin': ''}

    def test_severities(self):
        summary, = summaries([classifier('GAP', 0.4, extra=0.9)], REFERENCE)
        severities, means = severity_curve(summary, 'error')
        assert severities == [0, 1, 2, 3, 4, 5]
        assert means == pytest.approx([20, *((14 * 40 + 10 * severity) / 15 for severity in range(1, 6))])


class TestStability:

    def test_divided_by_a_reference(self):
        summary, = summaries([stable('GCP', 0.1, 2.)], reference_of(stable('AlexNet', 0.4, 5.)))
        assert summary.metrics == pytest.approx({'mFR': 25, 'mT5D': 40})
        assert summary.corruptions['tilt'] == pytest.approx({'FP': 20, 'uT5D': 2, 'FR': 25, 'T5D': 40})
        assert list(summary.corruptions) == ['gaussian_noise', 'shot_noise', 'motion_blur', 'zoom_blur', 'snow',
                                             'brightness', 'translate', 'rotate', 'tilt', 'scale']

    def test_without_reference(self):
        assert summaries([stable('GCP', 0.1, 2.)])[0].metrics == pytest.approx({'mean FP': 11, 'mean uT5D': 2})

    def test_difficulties_are_not_mixed(self):
        first, second = stable('a', 0.1, 2.), stable('b', 0.1, 2., difficulty=2)
        with pytest.raises(ValueError, match='reference has difficulty 2, the networks were measured with 1'):
            summaries([first], reference_of(second))
        with pytest.raises(ValueError, match="'b' was measured on imagenet-p, difficulty 2, 'a' on .* difficulty 1"):
            summaries([first, second])


class TestDetectors:

    def test_precision(self):
        summary, = summaries([detector('GAP', 0.4, 0.3)])
        assert summary.metrics == pytest.approx({
            'bbox_mAP P': 0.4, 'bbox_mAP mPC': 0.28, 'bbox_mAP rPC': 70, 'bbox_mAP_50 P': 0.8, 'bbox_mAP_50 mPC': 0.56,
            'bbox_mAP_50 rPC': 70, 'segm_mAP P': 0.2, 'segm_mAP mPC': 0.14, 'segm_mAP rPC': 70})
        assert summary.corruptions['fog'] == {'bbox_mAP': 0, 'bbox_mAP_50': 0, 'segm_mAP': 0}

    def test_extra_corruptions_enter_no_mean(self):
        result = detector('GAP', 0.4, 0.3)
        extra = {f'saturate/{severity}': result.sets['snow/1'] for severity in range(1, 6)}
        summary, = summaries([result._replace(sets={**result.sets, **extra})])
        assert summary.metrics['bbox_mAP mPC'] == pytest.approx(0.28)
        assert summary.corruptions['saturate']['bbox_mAP'] == pytest.approx(0.3)

    def test_a_precision_of_0_is_no_divisor(self):
        metrics = summaries([detector('GAP', 0., 0.)])[0].metrics
        assert metrics['bbox_mAP P'] == 0 and 'bbox_mAP rPC' not in metrics

    def test_mistakes(self):
        result = detector('GAP', 0.4, 0.3)
        with pytest.raises(ValueError, match='COCO-C has no reference'):
            summaries([result], REFERENCE)
        with pytest.raises(ValueError, match='COCO-C has no reference'):
            reference_of(result)
        with pytest.raises(ValueError, match="'GAP' has no mAP that all its sets have"):
            summaries([result._replace(sets={**result.sets, 'clean': {'images': 5}})])


def on(benchmark, name, errors):
    """Errors by set of another benchmark."""
    return RobustnessResult(name, benchmark, {key: {'error': error, 'images': 10} for key, error in errors.items()})


SPARKLES = {f'{kind}/{severity}': 0.5 if kind == 'sparkles' else 0.1 * severity
            for kind, severity in BENCHMARKS['imagenet-c-bar'].sets().values()}


class TestOtherBenchmarks:

    def test_c_bar_has_plain_means(self):
        summary, = summaries([on('imagenet-c-bar', 'GAP', {'clean': 0.2, **SPARKLES})])
        assert summary.metrics == pytest.approx({'clean error': 20, 'mean error': (50 + 9 * 30) / 10,
                                                 'relative mean error': 12})
        assert summary.corruptions['sparkles'] == pytest.approx({'error': 50, 'relative error': 30})
        assert [summary.label(name) for name in summary.metrics] == [
            'clean error', 'C-bar mean error', 'C-bar relative mean error']
        assert summary.headline.metrics == pytest.approx({'clean error': 20, 'mean error': 32})
        own = reference_of(summary.result)
        assert summaries([summary.result], own)[0].metrics['mCE'] == pytest.approx(100)
        with pytest.raises(ValueError, match="the reference has no errors on 'blue_noise_sample'"):
            summaries([summary.result], REFERENCE)

    def test_photos_have_an_error_each(self):
        single, = summaries([on('imagenet-a', 'GAP', {'imagenet-a': 0.9})])
        assert single.metrics == {'error': 90} and single.label('error') == 'A error'
        part = {'matched-frequency': 0.3, 'top-images': 0.25}
        summary, = summaries([on('imagenet-v2', 'GAP', part)], partial=True)
        assert summary.metrics == {'matched-frequency error': 30, 'top-images error': 25}
        assert [*map(summary.label, summary.metrics)] == ['V2 matched-frequency error', 'V2 top-images error']
        assert summary.headline.metrics == {'matched-frequency error': 30}
        with pytest.raises(ValueError, match='lacks 1 of the 3 sets of imagenet-v2: threshold0.7'):
            summaries([summary.result])
        for use in (lambda: summaries([single.result], REFERENCE), lambda: reference_of(single.result)):
            with pytest.raises(ValueError, match='imagenet-a has no reference: its errors are not divided'):
                use()

    def test_clean_images_have_their_error(self):
        record = dict(set='clean', items=4, outcomes=pack_errors('abcd', [1, 0, 0, 0]))
        summary, = summaries([RobustnessResult('GAP', 'clean', {'clean': dict(error=0.25)}, records=[record])])
        assert summary.metrics == {'clean error': 25} and summary.label('clean error') == 'clean error'
        assert summary.images['clean error'].tolist() == [100, 0, 0, 0]
        with pytest.raises(ValueError, match='clean has no reference'):
            reference_of(summary.result)

    def test_differences_of_variants_are_paired_by_variant(self):
        results = []
        for name, wrong in (('GAP', [1, 1, 0, 0]), ('GCP', [0, 1, 0, 0])):
            sets = {kind: dict(error=sum(wrong) / 4) for kind in BENCHMARKS['imagenet-v2'].kinds}
            records = [dict(set=kind, items=4, outcomes=pack_errors([f'{kind}_{i}' for i in range(4)], wrong))
                       for kind in sets]
            results.append(RobustnessResult(name, 'imagenet-v2', sets, records=records))
        first, second = summaries(results)
        assert paired_error(first, second, 'top-images error') == pytest.approx(np.std([100, 0, 0, 0], ddof=1) / 2)

    def test_all_in_one_table_figure_and_file(self, tmp_path, monkeypatch):
        everything = [*summaries([GAP, GCP], REFERENCE)]
        for benchmark, errors in (('imagenet-c-bar', {'clean': 0.2, **SPARKLES}), ('imagenet-a', {'imagenet-a': 0.9})):
            everything += summaries([on(benchmark, 'GAP', errors),
                                     on(benchmark, 'GCP', {key: value / 2 for key, value in errors.items()})])
        table = robustness_table([summary.headline for summary in everything]).splitlines()
        assert [cell.strip() for cell in table[0].split('|')] == [
            '', 'network', 'clean error', 'mCE', 'C-bar mean error', 'A error', '']
        assert [cell.strip() for cell in table[3].split('|')][3:6] == ['60.0 (↓18.7)', '16.0 (↓16.0)', '45.0 (↓45.0)']
        figures = []
        monkeypatch.setattr('mmgcp.analysis.robustness_figure.save_figure', lambda figure, *_: figures.append(figure))
        plot_overview(everything, tmp_path / 'all.png')
        ax, = figures[0].axes
        assert heights(ax)['GAP'] == pytest.approx([20, 1180 / 15, 32, 90])
        assert [label.get_text() for label in ax.get_xticklabels()] == [
            'clean error', 'mCE', 'C-bar mean error', 'A error']
        assert [text.get_text() for text in figures[0].legends[0].get_texts()] == ['GAP', 'GCP']
        write_json(tmp_path / 'all.json', everything)
        networks = json.loads((tmp_path / 'all.json').read_text())['networks']
        assert [network['benchmark'] for network in networks] == [
            name for name in ('imagenet-c', 'imagenet-c-bar', 'imagenet-a') for _ in range(2)]


class TestPartial:

    def test_missing_sets_are_listed(self):
        names = [name for name in GAP.sets if not name.startswith('snow') and name not in ('fog/2', 'fog/4')]
        with pytest.raises(ValueError, match=r"'GAP' lacks 7 of the 75 sets of imagenet-c: fog/2,4, snow/1-5\. "):
            summaries([GCP, part(GAP, *names)], REFERENCE)
        with pytest.raises(ValueError, match='lacks 9 of the 10 sets of imagenet-p: brightness, gaussian_noise, '):
            summaries([part(stable('a', 0.1, 2.), 'tilt')])
        with pytest.raises(ValueError, match='lacks 75 of the 75 sets'):
            summaries([part(GAP, 'clean')], partial=True)

    def test_means_over_some_sets_say_so(self):
        summary, = summaries([part(GAP, 'clean', 'fog/1', 'fog/3', 'snow/1')], REFERENCE, partial=True)
        assert summary.metrics['mCE'] == pytest.approx((40 + 80) / 2)
        assert robustness_table([summary]).splitlines()[0] == (
            '| network | clean error | partial mCE (3 of 75 sets) | partial relative mCE (3 of 75 sets) |')
        assert corruption_table([summary]).splitlines() == [
            '| partial CE (3 of 75 sets) |  GAP |', '| ------------------------- | ---: |',
            '| weather: snow             | 80.0 |', '| weather: fog              | 40.0 |']
        severities, means = severity_curve(summary, 'error')
        assert (severities, means) == ([0, 1], pytest.approx([20, 25]))

    def test_networks_must_have_the_same_sets(self):
        with pytest.raises(ValueError, match=r"'GCP' and 'GAP' were measured on different sets \(fog/2,3\)"):
            summaries([part(GAP, 'fog/1', 'fog/2'), part(GCP, 'fog/1', 'fog/3')], partial=True)


class TestMistakes:

    def test_results(self):
        with pytest.raises(ValueError, match='no measurements of robustness'):
            summaries([])
        with pytest.raises(ValueError, match="Several networks are called 'GAP'"):
            summaries([GAP, GAP])
        with pytest.raises(ValueError, match="'a' was measured on imagenet-p, .* 'GAP' on imagenet-c"):
            summaries([GAP, stable('a', 0.1, 2.)])
        with pytest.raises(ValueError, match="'error' of 'GAP' on fog/3 is nan: measure this set again"):
            summaries([GAP._replace(sets={**GAP.sets, 'fog/3': {'error': float('nan')}})])

    def test_references(self):
        with pytest.raises(ValueError, match='not measured on clean images'):
            reference_of(classifier('GAP', 0.4, clean=None))
        with pytest.raises(ValueError, match='lacks 74 of the 75 sets'):
            reference_of(part(GAP, 'fog/1'))


class TestTables:

    def test_table_4(self):
        reference = reference_of(stable('AlexNet', 0.4, 5.))
        stability = summaries([stable('GAP', 0.2, 2.), stable('GCP', 0.1, 2.5)], reference)
        # GCP: CE 1.5 / 2.5 and relative CE (1.5 - 5 * 0.15) / 1.25 throughout, its mean error on fog being 0.3 too.
        assert robustness_table([*summaries([GAP, GCP], REFERENCE), *stability]).splitlines() == [
            '| network | clean error |          mCE | relative mCE |          mFR |         mT5D |',
            '| ------- | ----------: | -----------: | -----------: | -----------: | -----------: |',
            '| GAP     |        20.0 |         78.7 |         77.3 |         50.0 |         40.0 |',
            '| GCP     | 15.0 (↓5.0) | 60.0 (↓18.7) | 60.0 (↓17.3) | 25.0 (↓25.0) | 50.0 (↑10.0) |',
        ]

    def test_table_4_from_files(self, tmp_path):
        reference = reference_of(stable('AlexNet', 0.4, 5.))
        small = [classifier('small', 0.6), classifier('small, GCP', 0.5)]
        write_json(tmp_path / 'c.json', summaries([GAP, GCP], REFERENCE))
        write_json(tmp_path / 'p.json', summaries([stable('GAP', 0.2, 2.), stable('GCP', 0.1, 2.5)], reference))
        write_json(tmp_path / 'small.json', summaries(small, REFERENCE))
        assert table_4([tmp_path / name for name in ('c.json', 'p.json', 'small.json')]).splitlines() == [
            '| network    | clean error |          mCE |  relative mCE |          mFR |         mT5D |',
            '| ---------- | ----------: | -----------: | ------------: | -----------: | -----------: |',
            '| GAP        |        20.0 |         78.7 |          77.3 |         50.0 |         40.0 |',
            '| GCP        | 15.0 (↓5.0) | 60.0 (↓18.7) |  60.0 (↓17.3) | 25.0 (↓25.0) | 50.0 (↑10.0) |',
            '| small      |        20.0 |        116.0 |         152.0 |          N/A |          N/A |',
            '| small, GCP | 20.0 (±0.0) | 97.3 (↓18.7) | 114.7 (↓37.3) |          N/A |          N/A |',
        ]

    def test_files_that_contradict_each_other_or_are_none(self, tmp_path):
        write_json(tmp_path / 'one.json', summaries([GAP]))
        write_json(tmp_path / 'two.json', summaries([classifier('GAP', 0.5)]))
        with pytest.raises(ValueError, match="two.json' has another 'mean error' of 'GAP'"):
            table_4([tmp_path / 'one.json', tmp_path / 'two.json'])
        (tmp_path / 'list.json').write_text('[1]')
        for name, sentence in (('none.json', 'does not exist'), ('list.json', 'is no JSON file of')):
            with pytest.raises(ValueError, match=sentence):
                table_4([tmp_path / name])

    @pytest.mark.parametrize('other, sentence', [
        (summaries([classifier('GCP', 0.5)._replace(subset='rand:5, seed 0')]),
         "'clean error' of '.*one.json' and of '.*two.json' .*subset: none and rand:5, seed 0"),
        (summaries([classifier('GCP', 0.5)._replace(origin='made on the fly, seed 0')]),
         "'mean error' of .*origin: none and made on the fly, seed 0"),
    ])
    def test_numbers_of_other_images_get_no_common_column(self, other, sentence, tmp_path):
        write_json(tmp_path / 'one.json', summaries([classifier('GAP', 0.5)]))
        write_json(tmp_path / 'two.json', other)
        with pytest.raises(ValueError, match=sentence):
            table_4([tmp_path / 'one.json', tmp_path / 'two.json'])

    def test_errors_divided_by_others_get_no_common_column(self, tmp_path):
        for name, reference in (('one', REFERENCE), ('two', {**REFERENCE, 'source': 'another'})):
            write_json(tmp_path / f'{name}.json', summaries([classifier(name, 0.5)], reference))
        with pytest.raises(ValueError, match="'mCE' of .*divided_by: a reference and another"):
            table_4([tmp_path / 'one.json', tmp_path / 'two.json'])

    def test_what_was_not_measured(self):
        rows = [*summaries([GAP], REFERENCE), *summaries([stable('GCP', 0.1, 2.)])]
        assert robustness_table(rows).splitlines()[2:] == [
            '| GAP     |        20.0 | 78.7 |         77.3 |     N/A |       N/A |',
            '| GCP     |         N/A |  N/A |          N/A |    11.0 |      2.00 |',
        ]

    def test_detectors(self):
        table = robustness_table(summaries([detector('GAP', 0.4, 0.3), detector('GCP', 0.5, 0.45)])).splitlines()
        assert table[0].split() == ('| network | bbox_mAP P | bbox_mAP mPC | bbox_mAP rPC '
                                    '| segm_mAP P | segm_mAP mPC | segm_mAP rPC |').split()
        assert table[3] == ('| GCP     | 0.500 (↑0.100) | 0.420 (↑0.140) | 84.0 (↑14.0) '
                            '| 0.250 (↑0.050) | 0.210 (↑0.070) | 84.0 (↑14.0) |')

    def test_by_corruption(self):
        table = corruption_table(summaries([GAP, GCP], REFERENCE)).splitlines()
        assert table[0] == '| CE                         |  GAP |  GCP |'
        assert [row.split('|')[1].strip() for row in table[2:]] == [
            'noise: gaussian noise', 'noise: shot noise', 'noise: impulse noise', 'blur: defocus blur',
            'blur: glass blur', 'blur: motion blur', 'blur: zoom blur', 'weather: snow', 'weather: frost',
            'weather: fog', 'weather: brightness', 'digital: contrast', 'digital: elastic transform',
            'digital: pixelate', 'digital: jpeg compression']
        assert table[2 + CORRUPTIONS.index('fog')] == '| weather: fog               | 60.0 | 60.0 |'
        assert table[2] == '| noise: gaussian noise      | 80.0 | 60.0 |'

    def test_by_perturbation(self):
        flips, distances = corruption_table(summaries([stable('GCP', 0.1, 2.)])).split('\n\n')
        assert flips.splitlines()[0].split() == ['|', 'FP', '|', 'GCP', '|']
        assert '| digital: tilt         | 20.0 |' in flips and '| digital: tilt         | 2.00 |' in distances


def recorded(errors, name='GAP', photos=('a', 'b', 'c', 'd', 'e')):
    """A network that is wrong on these photos, by set."""
    records = [dict(set=key, items=5, outcomes=pack_errors(photos, wrong)) for key, wrong in errors.items()]
    sets = {key: dict(error=sum(map(bool, wrong)) / (5 - wrong.count(None)), images=5) for key, wrong in errors.items()}
    return RobustnessResult(name, 'imagenet-c', sets, records=records)


ERRORS = {'clean': [0, 0, 0, 1, 0], 'fog/1': [0, 1, 0, 1, 0], 'fog/3': [1, 1, 0, 1, 0], 'snow/2': [1, 1, 1, None, 0],
          'saturate/1': [1, 1, 1, 1, 1]}


class TestPhotos:

    def test_the_mean_over_photos_is_the_metric(self):
        result = recorded(ERRORS)
        for reference in (None, REFERENCE):
            summary, = summaries([result], reference, partial=True)
            assert set(summary.images) == set(summary.metrics)
            for metric, values in summary.images.items():
                assert values.shape == (5, ) and values.mean() == pytest.approx(summary.metrics[metric])
        assert per_image(result.records, 'mean error').tolist() == pytest.approx([75, 100, 50, 87.5, 0])
        assert per_image(result.records, 'relative mean error').tolist() == pytest.approx([75, 100, 50, -12.5, 0])
        assert per_image(result.records, 'clean error').tolist() == [0, 0, 0, 100, 0]
        assert per_image(result.records, 'mCE', REFERENCE).tolist() == summary.images['mCE'].tolist()

    @pytest.mark.parametrize('reference', [None, dict(source='', difficulty=1, flip=dict(snow=0.5, tilt=0.25),
                                                      top5=dict(snow=2., tilt=4.))])
    def test_sequences(self, reference):
        entries = {'snow': ([0.25, None, 1.], [1., None, 2.5]), 'tilt': ([0., 0.5, 0.25], [0.5, 3., 0.])}
        records = [dict(set=name, items=3, outcomes=pack_flips('abc', *values, pairs=4))
                   for name, values in entries.items()]
        sets = {name: dict(flip=sum(filter(None, flip)) / (3 - flip.count(None)),
                           top5=sum(filter(None, top5)) / (3 - flip.count(None)))
                for name, (flip, top5) in entries.items()}
        summary, = summaries([RobustnessResult('GAP', 'imagenet-p', sets, records=records)], reference, partial=True)
        assert set(summary.images) == set(summary.metrics) and len(summary.metrics) == 2
        for metric, values in summary.images.items():
            assert values.shape == (3, ) and values.mean() == pytest.approx(summary.metrics[metric])

    def test_what_is_not_known_by_photo(self):
        records = recorded(ERRORS).records
        assert per_image([{**records[0], 'outcomes': None}], 'clean error') is None
        assert per_image([dict(set='clean', items=5), *records[1:]], 'relative mean error') is None
        assert per_image(records[1:], 'relative mean error') is None and per_image([], 'mean error') is None
        assert per_image(records[1:], 'mean error') is not None
        assert per_image(records, 'mean FP') is None and per_image(records, 'bbox_mAP mPC') is None
        others = recorded({'clean': ERRORS['clean']}, photos='vwxyz').records
        assert per_image([*others, *records[1:]], 'relative mean error') is None

    def test_differences_have_their_error_over_photos(self, tmp_path):
        fewer = {**ERRORS, 'fog/1': [0, 0, 0, 1, 0], 'fog/3': [1, 0, 0, 0, 0]}
        both = summaries([recorded(ERRORS), recorded(fewer, 'GCP')], partial=True)
        difference = [0, -50, 0, -25, 0]  # of the mean error
        error = np.std(difference, ddof=1) / 5 ** 0.5
        assert paired_error(*both, 'mean error') == pytest.approx(error)
        assert paired_error(*both, 'clean error') == 0
        row = robustness_table(both).splitlines()[3]
        assert row.split('|')[3].strip() == f'47.5 (↓15.0 ± {error:.1f})'
        assert sample_note(both).startswith('Measured on 5 photos. Differences ± their standard error over photos')
        assert sample_note(both[:1]) == 'Measured on 5 photos.'
        write_json(tmp_path / 'c.json', both)
        assert table_4([tmp_path / 'c.json']).splitlines()[3] == row

        others = summaries([recorded(ERRORS), recorded(fewer, 'GCP', 'vwxyz')], partial=True)
        assert paired_error(*others, 'mean error') is None and '(↓15.0)' in robustness_table(others)
        assert sample_note(others) == 'Measured on 5 photos.'
        fewer = others[1]._replace(result=others[1].result._replace(records=[dict(set='clean', items=3)]))
        assert sample_note([others[0], fewer]) == 'Measured on different photos: GAP on 5, GCP on 3.'
        assert sample_note(summaries([GAP])) == 'Number of photos not recorded.'


class TestFiles:

    def read(self, path):
        with path.open(newline='', encoding='utf-8') as file:
            header, *rows = csv.reader(file)
        assert header == ['network', 'corruption', 'severity', 'metric', 'value']
        assert len({tuple(row[:4]) for row in rows}) == len(rows)
        return {tuple(row[:4]): float(row[4]) for row in rows}

    def test_csv(self, tmp_path):
        write_csv(tmp_path / 'new' / 'robustness.csv', summaries([GAP, GCP], REFERENCE))
        assert [path.name for path in (tmp_path / 'new').iterdir()] == ['robustness.csv']
        rows = self.read(tmp_path / 'new' / 'robustness.csv')
        expected = {('GAP', '', '', 'mCE'): 1180 / 15, ('GCP', '', '', 'clean error'): 15,
                    ('GAP', 'clean', '0', 'error'): 20, ('GAP', 'fog', '3', 'error'): 30,
                    ('GAP', 'fog', '3', 'images'): 10, ('GAP', 'fog', '', 'CE'): 60,
                    ('GCP', 'snow', '', 'relative CE'): 60}
        assert {key: rows[key] for key in expected} == pytest.approx(expected)
        assert len(rows) == 2 * (76 * 2 + 15 * 3 + 3)

    def test_csv_of_perturbations(self, tmp_path):
        write_csv(tmp_path / 'p.csv', summaries([stable('GCP', 0.1, 2.)]))
        rows = self.read(tmp_path / 'p.csv')
        assert rows['GCP', 'tilt', '', 'FP'] == pytest.approx(20) and rows['GCP', 'tilt', '', 'sequences'] == 4
        assert len(rows) == 10 * 3 + 2

    def test_json(self, tmp_path):
        write_json(tmp_path / 'c.json', summaries([GAP, GCP], REFERENCE))
        first, second = json.loads((tmp_path / 'c.json').read_text())['networks']
        assert (first['name'], first['benchmark'], first['divided_by']) == ('GAP', 'imagenet-c', 'a reference')
        assert (first['sets'], first['unreadable']) == (GAP.sets, ['bad.JPEG'])
        assert first['metrics']['mCE'] == pytest.approx(1180 / 15)
        assert second['corruptions']['snow']['CE'] == pytest.approx(60)

    def test_an_entry_is_a_reference(self, tmp_path):
        write_json(tmp_path / 'all.json', summaries([GAP, GCP], REFERENCE))
        entry = json.loads((tmp_path / 'all.json').read_text())['networks'][0]
        (tmp_path / 'gap.json').write_text(json.dumps(entry))
        metrics = summaries([GAP], load_corruption_reference(tmp_path / 'gap.json'))[0].metrics
        assert (metrics['mCE'], metrics['relative mCE']) == pytest.approx((100, 100))

        write_json(tmp_path / 'all.json', summaries([stable('a', 0.2, 2., difficulty=2)]))
        entry = json.loads((tmp_path / 'all.json').read_text())['networks'][0]
        (tmp_path / 'a.json').write_text(json.dumps(entry))
        metrics = summaries([stable('b', 0.1, 1., difficulty=2)], load_stability(tmp_path / 'a.json'))[0].metrics
        assert metrics == pytest.approx({'mFR': 50, 'mT5D': 50})

    def test_part_of_the_sets_is_no_reference(self, tmp_path):
        write_json(tmp_path / 'c.json', summaries([part(GAP, 'clean', 'fog/1')], partial=True))
        entry, = json.loads((tmp_path / 'c.json').read_text())['networks']
        assert 'errors' not in entry and (entry['sets_measured'], entry['sets_needed']) == (1, 75)
        assert entry['metrics'] == pytest.approx({'clean error': 20, 'partial mean error (1 of 75 sets)': 10,
                                                  'partial relative mean error (1 of 75 sets)': -10})


def heights(ax):
    """Heights of the bars by label."""
    return {bars.get_label(): [bar.get_height() for bar in bars] for bars in ax.containers}


class TestFigure:

    def test_bars(self):
        ax = Figure().add_subplot()
        draw_corruptions(ax, summaries([GAP, GCP], REFERENCE), 'CE')
        fog = CORRUPTIONS.index('fog')
        assert heights(ax) == {'GAP': pytest.approx([60 if index == fog else 80 for index in range(15)]),
                               'GCP': pytest.approx([60] * 15)}
        assert [text.get_text() for text in ax.texts] == ['noise', 'blur', 'weather', 'digital']
        assert ax.get_xticklabels()[fog].get_text() == 'fog'
        assert ax.get_ylabel() == 'CE\n(%, lower is better)'
        left, right = (bars[0] for bars in ax.containers)
        assert left.get_x() + left.get_width() == pytest.approx(right.get_x())
        assert left.get_facecolor() != right.get_facecolor() and left.get_hatch() != right.get_hatch()

    def test_bars_of_what_one_network_lacks(self):
        ax = Figure().add_subplot()
        draw_corruptions(ax, summaries([classifier('GAP', 0.4, extra=0.9), GCP]), 'error')
        assert heights(ax)['GAP'][-1] == pytest.approx(90) and heights(ax)['GCP'][-1] != heights(ax)['GCP'][-1]
        assert ax.texts[-1].get_text() == 'extra'

    def test_lines(self):
        ax = Figure().add_subplot()
        draw_severities(ax, summaries([detector('GAP', 0.4, 0.3)]), 'bbox_mAP')
        line, = ax.get_lines()
        assert line.get_xdata().tolist() == [0, 1, 2, 3, 4, 5]
        assert line.get_ydata().tolist() == pytest.approx([0.4, *[0.28] * 5])
        assert ax.get_ylabel() == 'mean bbox_mAP\n(higher is better)'

    @pytest.mark.parametrize('networks, reference, labels', [
        ([GAP, GCP], REFERENCE, ['CE', 'mean error']),
        ([GAP, GCP], None, ['error', 'mean error']),
        ([GAP._replace(name='_gap'), GCP], None, ['error', 'mean error']),
        ([stable('GAP', 0.2, 2.), stable('GCP', 0.1, 2.)], None, ['FP', 'uT5D']),
        ([detector('GAP', 0.4, 0.3)], None, ['bbox_mAP', 'mean bbox_mAP', 'segm_mAP', 'mean segm_mAP']),
    ])
    def test_panels(self, tmp_path, monkeypatch, networks, reference, labels):
        figures = []
        monkeypatch.setattr('mmgcp.analysis.robustness_figure.save_figure', lambda figure, *_: figures.append(figure))
        plot_robustness(summaries(networks, reference), tmp_path / 'robustness.png')
        figure, = figures
        assert [ax.get_ylabel().split('\n')[0] for ax in figure.axes] == labels
        names = [text.get_text().lstrip('\u200b') for text in figure.legends[0].get_texts()]
        assert names == [network.name for network in networks]

    def test_files(self, tmp_path):
        paths = plot_robustness(summaries([GAP, GCP], REFERENCE), tmp_path / 'new' / 'c.png', ['svg'])
        assert [path.name for path in paths] == ['c.png', 'c.svg']
        assert all(path.stat().st_size > 5000 for path in paths)

    def test_benchmarks_are_not_mixed(self):
        both = [*summaries([GAP]), *summaries([stable('GCP', 0.1, 2.)])]
        for show in (corruption_table, lambda rows: plot_robustness(rows, 'robustness.png')):
            with pytest.raises(ValueError, match='compare networks on one benchmark'):
                show(both)
