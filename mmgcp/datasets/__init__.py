"""Data sets and transforms that MMPretrain and MMDetection lack."""
from .imagenet_c import ImageNetC
from .imagenet_p import ImageNetP, collate_sequences
from .perturbed_dataset import PerturbedDataset
from .transforms import Corrupt

__all__ = ['Corrupt', 'ImageNetC', 'ImageNetP', 'PerturbedDataset', 'collate_sequences']
