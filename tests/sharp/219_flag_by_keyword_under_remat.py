# 219 nn.remat(Block)()(x, train=True): keywords are traced too
# Source: static_argnums names positions
# Want: error
# Says: train; static_argnums; position

import importlib
import os

import jax
import jax.numpy as jnp

lib = os.environ.get('LIB', 'linnet')
nn = importlib.import_module(f'{lib}.linen')


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(3)(x) if train else x


nn.remat(Block, static_argnums=(2,))().init(jax.random.key(0), jnp.ones((2, 3)), train=True)
print('OK: the keyword was static')
