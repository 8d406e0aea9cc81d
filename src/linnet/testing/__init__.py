"""What tests of programs need."""

from linnet.testing.benchmark import Benchmark as Benchmark

__all__ = ['Benchmark']
