"""ImageNet-C and ImageNet-P: the names of their sets, and the errors made of what was measured on them."""
