"""Measurements of a network: its loss landscape, curvature and gradients."""
