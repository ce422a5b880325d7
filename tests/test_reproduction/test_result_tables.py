import csv
from dataclasses import replace

from mmgcp.experiments import Measurement
from reproduction.effects import estimate, sampling_error
from reproduction.measured import Measured
from reproduction.result_tables import make_tables, save_tables

from ..test_experiments.conftest import ENVIRONMENT, write
from .conftest import small_plan, training


def test_tables(plan, results):
    made = make_tables(Measured(plan, results))
    rows = {name: {row[0]: row for row in table.rows} for name, table in made.items()}
    assert rows['accuracy']['ResNet-18, GCP_M, LR_adju'] == [
        'ResNet-18, GCP_M, LR_adju', '2', '3', '76.0 ± 1.0', '95.0 ± 0.0', '2, 2, 2']
    assert rows['accuracy']['ResNet-18, GAP, LR_norm'][-1] == 'N/A'
    assert rows['accuracy']['ResNet-18, GAP, LR_adju'][-1] == '-, -, -'
    assert rows['variants']['ResNet-18, GCP_M, LR_adju, 64 px'][1:] == ['1', '71.0', '-4.0']  # of seed 0 alone
    assert rows['variants']['ResNet-18, GCP_M, LR_adju'][1:] == ['3', '76.0 ± 1.0', '']
    assert rows['detection']['Mask R-CNN, GAP'] == ['Mask R-CNN, GAP', '5', '3', '20.0 ± 0.0', '19.0 ± 0.0']
    assert rows['robustness_c']['ResNet-18, GCP_M, LR_adju, seed 1'][1:] == [
        '100 photos, 10 of 75 sets', '34.0', '50.0', '16.0']
    assert rows['corruptions']['weather: fog'][1:] == ['56.0', '50.0']
    assert made['made_on'].rows[0][-1] == '6.5'  # half an hour for each of 13 trainings


def test_the_accuracy_to_match_is_that_of_the_last_epoch(plan, results):
    """Not that of the best one, which GCP_M does not reach."""
    for seed in (0, 1, 2):
        write(results / f'small/resnet18_gap_lr-norm/seed_{seed}.jsonl', dict(
            environment=ENVIRONMENT, seconds=1, command=''), [
                {'step': epoch, 'accuracy/top1': value, 'accuracy/top5': 95.}
                for epoch, value in enumerate([40., 90., 60., 70.], 1)])
    made = make_tables(Measured(plan, results))
    rows = {row[0]: row for row in made['accuracy'].rows}
    assert rows['ResNet-18, GAP, LR_norm'][3] == '70.0 ± 0.0' and rows['ResNet-18, GCP_M, LR_adju'][-1] == '2, 2, 2'
    assert [row[4] for row in made['claims_convergence'].rows if row[4]] == ['reached by 3 of 3 seeds, in epoch 2 of 4']


def test_curvature_is_that_of_the_last_checkpoint(results):
    plan = small_plan(measurements=[Measurement('curvature', 't.py', (), '*', ('resnet18_gap_lr-adju', ))])
    write(results / 'small/resnet18_gap_lr-adju/seed_1_curvature.jsonl',
          {'measured': dict(eigenvalues=2, smallest=False)},
          [dict(unit='epoch', step=step, loss=1.5, eigenvalues=[10. * step, 3.], residuals=[0.01, 0.01], smallest=[],
                trace=40., trace_error=0.5, products=9, seconds=1.) for step in (1, 2)])
    table = make_tables(Measured(plan, results))['curvature']
    assert table == (['training', 'seed', 'loss', 'lambda_1', 'trace'],
                     [['ResNet-18, GAP, LR_adju', '1', '1.5', '20', '40 ± 0.5']])


def test_augmix_is_compared_by_the_seeds_that_have_both(results):
    """GAP errs on 20, 21, 22 % of clean and 40, 41, 42 % of corrupted photos; with AugMix 1 more and 5 less."""
    plan = small_plan(trainings=[training(('gap', 'norm')), training(('gap', 'norm', 'augmix'))], measurements=[
        Measurement('augmix_c', 't.py', (), '*', ('resnet18_gap_lr-norm', 'resnet18_gap_lr-norm_augmix'))])
    for name, gain in (('resnet18_gap_lr-norm', 0), ('resnet18_gap_lr-norm_augmix', 5)):
        for seed in (0, 1, 2) if not gain else (1, 2):
            write(results / f'small/{name}/seed_{seed}.jsonl', dict(environment=ENVIRONMENT, seconds=1, command=''),
                  [{'step': 4, 'accuracy/top1': 70., 'accuracy/top5': 95.}])
            write(results / f'small/{name}/seed_{seed}_augmix_c.jsonl', dict(measured={}), [
                dict(set=kind, metrics={'accuracy/top1': top_1 - seed}, items=100, seconds=1)
                for kind, top_1 in (('clean', 80. - gain / 5), ('fog/1', 60. + gain), ('fog/2', 60. + gain))])
    assert make_tables(Measured(plan, results))['augmix'].rows == [
        ['ResNet-18, GAP, LR_norm', '2', '100 photos, 2 of 75 sets', '21.5', '22.5', '41.5', '36.5', '-5.0']]


def test_accuracy_beyond_gap_is_paired_by_seed(results):
    """GCP_M is 2, 3 and 7 points ahead; GAP has one more seed, and GCP without down-sampling a single one."""
    tops = {'gap': (70, 71, 72, 90), 'gcp_m': (72, 74, 79), 'gcp': (75, )}
    for pooling, values in tops.items():
        for seed, top_1 in enumerate(values):
            write(results / f'small/resnet18_{pooling}_lr-norm/seed_{seed}.jsonl',
                  dict(environment=ENVIRONMENT, seconds=1, command=''),
                  [{'step': 4, 'accuracy/top1': float(top_1), 'accuracy/top5': 95.}])
    plan = small_plan(judged=False, seeds=range(4), measurements=(), test_images=1000,
                      trainings=[training((pooling, 'norm')) for pooling in tops])
    # 75 and 75.75 % are the means over all seeds of each.
    difference = estimate([2, 3, 7], sampling_error([75, 75.75], 1000), 1000)
    assert make_tables(Measured(plan, results))['over_gap'].rows == [
        ['ResNet-18, GCP_M, LR_norm', 'GAP, LR_norm', '3', '75.0 and 71.0 %',
         f'+4.0 points [{difference.low:+.1f}, {difference.high:+.1f}]', f'{difference.p:.2g}'],
        ['ResNet-18, GCP w/o DS, LR_norm', 'GAP, LR_norm', '1', '75.0 and 70.0 %', '+5.0 points (no interval)',
         'too few seeds']]


def test_a_rate_of_its_own_is_compared_with_gap_at_one_rate_where_gap_has_none(results):
    """GAP has the factor 0.1 of 5 epochs, but not that of 20."""
    tops = {('gap', '', '5-epochs'): 70, ('gap', '', '5-epochs-classifier-lr-0.1'): 71, ('gap', '', '20-epochs'): 80,
            ('gcp_m', '', '5-epochs-classifier-lr-0.1'): 75, ('gcp_m', '', '20-epochs-classifier-lr-0.1'): 81,
            ('gap', ): 60, ('gcp_m', '', 'classifier-lr-0.1'): 62}
    trainings = [training(variant) for variant in tops]
    for one, top_1 in zip(trainings, tops.values(), strict=True):
        write(results / f'small/{one.name}/seed_0.jsonl', dict(environment=ENVIRONMENT, seconds=1, command=''),
              [{'step': 4, 'accuracy/top1': float(top_1), 'accuracy/top5': 95.}])
    plan = small_plan(judged=False, measurements=(), trainings=trainings)
    assert [[row[0].partition(', ')[2], row[1], row[4]] for row in make_tables(Measured(plan, results))[
        'over_gap'].rows] == [
            ['GCP_M, 5 epochs classifier lr 0.1', 'GAP, 5 epochs classifier lr 0.1', '+4.0 points (no interval)'],
            ['GCP_M, 20 epochs classifier lr 0.1', 'GAP, 20 epochs', '+1.0 points (no interval)'],
            ['GCP_M, classifier lr 0.1', 'GAP', '+2.0 points (no interval)']]


def test_cosines_are_means_over_the_seeds(results):
    plan = small_plan(measurements=[Measurement('gradients', 't.py', (), '*', ('resnet18_gap_lr-adju', ))])
    for seed, cosine in enumerate((0.1, 0.2, 0.6)):
        write(results / f'small/resnet18_gap_lr-adju/seed_{seed}_gradients.jsonl', dict(measured={}), [
            dict(rows={row: dict(cosines={'GAP': value, 'GAP with K-FAC': 1.1 - value})
                       for row, value in (('GAP', 1.), ('GAP with K-FAC', last))}) for last in (0., cosine)])
    assert make_tables(Measured(plan, results))['gradients'] == (
        ['gradient', 'seeds', 'GAP', 'GAP with K-FAC'],
        [['ResNet-18, GAP, LR_adju: GAP', '3', '1.000', '0.100'],
         ['ResNet-18, GAP, LR_adju: GAP with K-FAC', '3', '0.300', '0.800']])


def test_variation_of_no_training_of_the_plan_stands_for_itself(plan, results):
    alone = replace(plan, measurements=[], trainings=[
        training for training in plan.trainings if training.variant.variation == '64-px'])
    made = make_tables(Measured(alone, results))
    assert made['accuracy'].header[-1] == 'top-5'  # there is no accuracy to match
    assert made['accuracy'].rows == [['ResNet-18, GCP_M, LR_adju, 64 px', '2', '1', '71.0', '95.0']]
    assert 'variants' not in made


def test_verdicts_are_counted_by_subject(plan, results):
    made = make_tables(Measured(plan, results))
    rows = {row[0]: row[1:] for row in made['verdicts'].rows}
    assert rows['convergence'] == ['1', '0', '0', '0', '0', '0', '1'] and rows['accuracy'][0] == '2'
    assert rows['all'] == [str(sum(int(row[i]) for name, row in rows.items() if name != 'all')) for i in range(7)]


def test_effects_against_the_claims_are_listed_whatever_the_verdict(plan, results):
    """Significant ones first; a page shows the table, so that it is there where nothing is against."""
    assert make_tables(Measured(plan, results))['against'].rows[0][0] == 'none'
    finals = {'gcp_m_lr-adju': (60, 61, 62), 'gap_lr-norm': (70, 72, 71), 'gap_lr-adju': (55, 66, 60)}
    for name, values in finals.items():
        for seed, value in enumerate(values):
            write(results / f'small/resnet18_{name}/seed_{seed}.jsonl', dict(environment={}, seconds=1, command=''),
                  [{'step': 2, 'accuracy/top1': value, 'accuracy/top5': 95.}])
    table = make_tables(Measured(plan, results))['against']
    verdicts = [row[-1] for row in table.rows]
    assert 'does not hold' in verdicts and 'no outcomes by photo' not in verdicts
    assert verdicts == sorted(verdicts, key='does not hold'.__ne__)
    assert all(row[6].startswith('-') for row in table.rows)


def test_effects_against_the_claims_need_not_be_significant_to_be_listed(results):
    finals = {'gcp_m_lr-adju': (60, 75, 61), 'gap_lr-norm': (70, 70, 70), 'gap_lr-adju': (50, 60)}
    for name, values in finals.items():
        for seed, value in enumerate(values):
            write(results / f'small/resnet18_{name}/seed_{seed}.jsonl', dict(environment={}, seconds=1, command=''),
                  [{'step': 2, 'accuracy/top1': value, 'accuracy/top5': 95.}])
    for seeds, verdict in (((0, 1, 2), 'cannot be told'), ((0, 1), 'too few seeds')):
        table = make_tables(Measured(small_plan(seeds=seeds), results))['against']
        assert 'GCP under LR_adju is more accurate than GAP under LR_norm, after half the epochs' in {
            row[0] for row in table.rows if row[-1] == verdict}


def test_runs_and_curves_hold_every_run(plan, results):
    made = make_tables(Measured(plan, results))
    header = made['runs'].header
    runs = [dict(zip(header, row, strict=True)) for row in made['runs'].rows]
    assert len(runs) == 13 and len(made['curves'].rows) == 3 * (4 + 2 + 2 + 1) + 2
    run = next(run for run in runs if run['training'] == 'resnet18_gap_lr-norm' and run['seed'] == '1')
    assert (run['top-1'], run['epochs'], run['torch'], run['threads'], run['s per iteration']) == (
        '71', '4', '2.11.0', '2', '0.5000')
    assert run['command'] == 'train resnet18_gap_lr-norm seed 1'


def test_files_that_are_no_longer_made_are_removed(plan, results):
    made = make_tables(Measured(plan, results))
    (results / 'small' / 'old.csv').write_text('a')
    save_tables(made, results / 'small')
    assert {path.stem for path in (results / 'small').glob('*.csv')} == set(made)
    with (results / 'small' / 'accuracy.csv').open(newline='') as file:
        assert list(csv.reader(file)) == [made['accuracy'].header, *made['accuracy'].rows]
