# 213 a module with an __init__ of its own, as in PyTorch
# Source: dataclass semantics
# Want: error|works
# Says: Net; __init__; field|annotat

import importlib
import os

import jax
import jax.numpy as jnp

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.width = width

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.width)(x)


Net(3).init(jax.random.key(0), jnp.ones((2, 3)))
print('OK: the constructor was taken')
