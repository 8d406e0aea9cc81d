# 225 init by encode, apply by __call__: the decoder has no parameters
# Source: init makes what its method calls
# Want: error
# Says: decoder; init; calls

import importlib
import os

import jax
import jax.numpy as jnp

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')


class Coder(nn.Module):
    def setup(self):
        self.encoder = nn.Dense(4)
        self.decoder = nn.Dense(3)

    def encode(self, x):
        return self.encoder(x)

    def __call__(self, x):
        return self.decoder(self.encode(x))


x = jnp.ones((2, 3))
variables = Coder().init(jax.random.key(0), x, method='encode')
Coder().apply(variables, x)
raise AssertionError('SILENT: parameters were found')
