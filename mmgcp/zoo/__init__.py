"""Released weights: convert them, publish backbones, translate names of tensors."""
