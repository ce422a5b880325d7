"""Loops."""
from .benchmark_loop import BenchmarkLoop

__all__ = ['BenchmarkLoop']
