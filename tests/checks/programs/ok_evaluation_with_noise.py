"""A model that draws in evaluation too, and meets the same noise at each of them."""

# Finds: nothing
import jax
import numpy as np
import optax

import linnet.linen as nn
from linnet.train import Mean, Trainer


class Autoencoder(nn.Module):
    @nn.compact
    def __call__(self, x):
        code = nn.Dense(2)(x)
        code += 0.1 * jax.random.normal(self.make_rng('noise'), code.shape)
        return nn.Dense(x.shape[-1])(code)


def loss(net, x):
    return Mean.of(((net(x) - x) ** 2).mean(-1)), {}


rng = np.random.default_rng(0)
batches = [rng.normal(size=(4, 3)).astype('float32') for _ in range(6)]
valid = [rng.normal(size=(4, 3)).astype('float32') for _ in range(2)]
noise = {'streams': ('noise',), 'eval_streams': ('noise',)}
trainer = Trainer(Autoencoder(), loss, optax.sgd(0.1), progress='quiet', **noise)
trainer.fit(batches, steps=6, valid=valid, valid_every=2)
trainer.evaluate(valid)
