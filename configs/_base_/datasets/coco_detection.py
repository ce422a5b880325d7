"""COCO 2017 in ``data/coco``, short side 800, 2 images per GPU."""
_base_ = 'mmdet::_base_/datasets/coco_detection.py'

# Workers that start anew each epoch can be seeded, so that a resumed run repeats an uninterrupted one.
train_dataloader = dict(persistent_workers=False)
