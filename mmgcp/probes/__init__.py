"""Measure a network's loss landscape, curvature and gradients."""
