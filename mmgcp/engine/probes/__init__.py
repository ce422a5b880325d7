"""Measurements of a network beside its training: what the hooks and tools of the optimisation perspective compute."""
