"""The training photos alone, to tune settings without the test photos: every tenth is for validation."""
_base_ = './resnet18_gcp_m_imagenette.py'

train_dataloader = dict(dataset=dict(indices=[index for index in range(9469) if index % 10]))
val_dataloader = dict(dataset=dict(data_prefix='train', indices=list(range(0, 9469, 10))))
test_dataloader = val_dataloader
