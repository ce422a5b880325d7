"""Test networks on ImageNet-C, ImageNet-P and COCO-C."""
from .benchmark_loop import BenchmarkLoop

__all__ = ['BenchmarkLoop']
