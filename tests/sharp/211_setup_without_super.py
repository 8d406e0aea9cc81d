# 211 a subclass overrides setup() and does not call super().setup()
# Source: inheritance of modules
# Want: error
# Says: 'layer'; super().setup()

import importlib
import os

import jax
import jax.numpy as jnp

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')


class Base(nn.Module):
    def setup(self):
        self.layer = nn.Dense(3)

    def __call__(self, x):
        return self.layer(x)


class Child(Base):
    def setup(self):
        self.other = nn.Dense(3)


Child().init(jax.random.key(0), jnp.ones((2, 3)))
raise AssertionError('SILENT: the layer of the base was found')
