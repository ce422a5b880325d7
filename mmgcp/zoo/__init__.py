"""Model zoo: released weights, names of tensors, metafiles and tables."""
