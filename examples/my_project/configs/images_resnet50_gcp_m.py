"""ResNet-50 with GCP_M on images in folders, ``data/my_images/{train,val}/<class>/*``, for 50 epochs."""
_base_ = ['./_base_/mmgcp.py', 'mmgcp::gcp/resnet50_gcp_m_imagenet.py']

data_root = 'data/my_images'
num_classes = 10

model = dict(head=dict(num_classes=num_classes))
data_preprocessor = dict(num_classes=num_classes)
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(topk=1)  # top-5 needs five classes
test_evaluator = val_evaluator
