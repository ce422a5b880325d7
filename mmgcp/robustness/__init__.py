"""ImageNet-C and ImageNet-P: names of their sets and formulas of their errors."""
