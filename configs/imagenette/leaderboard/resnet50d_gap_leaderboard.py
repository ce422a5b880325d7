_base_ = [
    '../../_base_/models/resnet50d_gap.py',
    '../../_base_/datasets/imagenette_leaderboard.py',
    '../../_base_/schedules/imagenette_leaderboard.py',
    '../../_base_/imagenet_runtime.py',
]

model = dict(head=dict(num_classes=10, loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1)))
