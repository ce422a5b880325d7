"""The 9,469 training photos of the leaderboard alone: every tenth is for validation, the others are for training.

Photos are in the order of their classes, so that both parts have all classes in the same shares. Tune settings on it
without using the test photos.
"""
_base_ = './imagenette_leaderboard.py'

train_dataloader = dict(dataset=dict(indices=[index for index in range(9469) if index % 10]))
val_dataloader = dict(dataset=dict(data_prefix='train', indices=list(range(0, 9469, 10))))
test_dataloader = val_dataloader
