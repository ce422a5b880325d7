import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from mmgcp.analysis.style import COLORS, label_ends, legend_label, looks_of, markers_at, save_figure, use_style


@pytest.mark.parametrize('names', [
    ['GAP, LR_norm', 'GAP, LR_adju', 'GCP_M, LR_norm', 'GCP w/o DS, LR_norm'],
    ['resnet18_gap_lr-norm', 'resnet18_gap_lr-adju', 'resnet18_gcp_m_lr-norm', 'resnet18_gcp_lr-norm'],
    ['GAP LR_norm', 'GAP LR_adju', 'GCP_M LR_norm', 'GCP LR_norm'],
])
def test_one_colour_per_pooling_and_one_line_style_per_schedule(names):
    gap_norm, gap_adju, gcp_m, gcp = looks_of(names).values()
    assert gap_norm['color'] == gap_adju['color'] == COLORS[0] and gap_norm['linestyle'] == gcp_m['linestyle'] == '-'
    assert gap_norm['linestyle'] != gap_adju['linestyle']
    assert len({look['color'] for look in (gap_norm, gcp_m, gcp)}) == 3
    assert looks_of(names[2:])[names[2]] == gcp_m  # in every figure


def test_schedules_alone_differ_in_colour_too():
    looks = looks_of(['LR_norm', 'LR_adju', 'LR_adju_release'])
    assert [look['linestyle'] for look in looks.values()] == ['-', '--', '--']
    assert len({look['color'] for look in looks.values()}) == 3


def test_pooling_looks_alike_with_and_without_others():
    assert looks_of(['GAP w/o DS', 'GAP'])['GAP w/o DS'] == looks_of(['gap_wo-ds'])['gap_wo-ds']


@pytest.mark.parametrize('names', [
    ['GAP, LR_norm', 'GAP, LR_norm, classifier lr 0.1'], ['gap_lr-norm', 'gap_lr-norm_classifier-lr-0.1']])
def test_another_rate_of_the_classifier_has_a_colour_of_its_own(names):
    plain, tuned = looks_of(names).values()
    assert plain['linestyle'] == tuned['linestyle'] == '-' and plain['color'] == COLORS[0] != tuned['color']


@pytest.mark.parametrize('names', [['gap', 'gap_fast'], ['average pooling', 'covariance pooling', 'GAP']])
def test_names_that_do_not_tell_curves_apart_look_different(names):
    looks = looks_of([*names, names[0]])
    assert list(looks) == names
    for key in ('color', 'marker', 'linestyle'):
        assert len({look[key] for look in looks.values()}) == len(names)


def test_names_of_any_kind_are_written_as_they_are(tmp_path):
    with use_style():
        figure = Figure()
        ax = figure.subplots()
        for name in ('_old', '$5 a^$', r'$\beta$'):
            ax.plot([1, 2], label=legend_label(name))
        ax.set_yticks([1, 2], ['$x^$', 'b'])
        texts = [*figure.legend().get_texts(), *ax.get_yticklabels()]
        save_figure(figure, tmp_path / 'names.png', ['svg'])
    assert [text.get_text().lstrip('\u200b') for text in texts] == ['_old', '$5 a^$', r'$\beta$', '$x^$', 'b']
    assert [text.get_parse_math() for text in texts] == [True, False, True, False, True]  # a formula remains one


@pytest.mark.parametrize('rows', [1, 3])
def test_labels_at_close_ends_do_not_cover_one_another(rows):
    with use_style():
        figure = Figure(figsize=(6.4, 3 * rows))
        ax = figure.subplots(rows, squeeze=False)[0, 0]
        lines = [ax.plot([1, 2], [0, 10 + 0.01 * i], label=f'line {i}')[0] for i in range(4)]
        label_ends(ax, lines)
        figure.draw_without_rendering()
    boxes = sorted((Text.get_window_extent(text) for text in ax.texts), key=lambda box: box.y0)
    assert all(below.y1 < above.y0 + 1 for below, above in zip(boxes, boxes[1:], strict=False))
    assert all(box.x0 >= ax.get_window_extent().x1 for box in boxes)
    assert boxes[-1].y1 < figure.bbox.y1


def test_markers_of_close_curves_do_not_cover_one_another():
    markers = [range(start, 100, spacing) for start, spacing in (markers_at(12, 100, index, 3) for index in range(3))]
    assert len(set().union(*markers)) == sum(map(len, markers)) == 12 + 11 + 11
