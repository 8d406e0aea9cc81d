# 208 self.layers.append(...) in setup: the list has become a tuple
# Source: nn.ModuleList of PyTorch
# Want: error
# Says: append; [nn.Dense; setup|assigned

import importlib
import os

import jax
import jax.numpy as jnp

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')


class Net(nn.Module):
    def setup(self):
        self.layers = []
        for _ in range(2):
            self.layers.append(nn.Dense(3))

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


Net().init(jax.random.key(0), jnp.ones((2, 3)))
print('OK: the list could be changed')
