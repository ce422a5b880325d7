
import pytest

from mmgcp.analysis.comparison import results_table
from mmgcp.utils.logs import Run

RUNS = [Run('gap', 'epoch', (), ({'step': 1, 'accuracy/top1': 10.}, {'step': 2, 'accuracy/top1': 61.25})),
        Run('mask_rcnn', 'epoch', (), ({'step': 12, 'coco/bbox_mAP': 0.3126}, ))]


def test_last_values_stand_under_their_metrics():
    assert results_table(RUNS, ['accuracy/top1', 'coco/bbox_mAP']).splitlines() == [
        '| run       |  unit | trained | accuracy/top1 | coco/bbox_mAP |',
        '| --------- | ----: | ------: | ------------: | ------------: |',
        '| gap       | epoch |       2 |         61.25 |               |',
        '| mask_rcnn | epoch |      12 |               |         0.313 |',
    ]


def test_unknown_metric():
    with pytest.raises(ValueError, match="No run measured 'mIoU': choose from accuracy/top1, coco/bbox_mAP"):
        results_table(RUNS, ['mIoU'])
