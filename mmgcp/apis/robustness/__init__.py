"""Test the robustness of networks, see :mod:`mmgcp.robustness.catalogue`."""
from .benchmark_loop import BenchmarkLoop

__all__ = ['BenchmarkLoop']
