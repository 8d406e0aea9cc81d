# requires: numpyro==0.22.0
"""Bayesian networks with NumPyro: weights with a prior, and the state of batch norm, by SVI."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from _digests import show
from numpyro.contrib.module import flax_module, random_flax_module
from numpyro.infer import SVI, Predictive, Trace_ELBO, autoguide

random = np.random.default_rng(0)
X = random.normal(size=(32, 3)).astype('float32')
Y = X.sum(1) + 0.1 * random.normal(size=32).astype('float32')


class Network(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Dense(4)(x))
        return nn.Dense(1, name='out')(x)[..., 0]


class Normalised(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.BatchNorm(use_running_average=False)(nn.Dense(8)(x))
        x = nn.Dropout(0.3, deterministic=False)(nn.relu(x))
        return nn.Dense(1, name='out')(x)[..., 0]


def bayesian(x, y=None):
    prior = {'Dense_0.kernel': dist.Normal(0, 0.5), 'out.kernel': dist.Cauchy()}
    network = random_flax_module('network', Network(), prior, input_shape=(3,))
    with numpyro.plate('data', x.shape[0]):
        numpyro.sample('y', dist.Normal(network(x), 0.1), obs=y)


def normalised(x, y=None):
    network = flax_module(
        'network', Normalised(), x, apply_rng=['dropout'], mutable=['batch_stats']
    )
    mean = network(x, rngs={'dropout': numpyro.prng_key()})
    numpyro.sample('y', dist.Normal(mean, 1).to_event(1), obs=y)


for model, guide in (
    (bayesian, autoguide.AutoNormal(bayesian)),
    (normalised, lambda x, y=None: None),
):
    svi = SVI(model, guide, numpyro.optim.Adam(1e-2), Trace_ELBO())
    result = svi.run(jax.random.key(1), 20, X, Y, progress_bar=False)
    print(model.__name__, result.losses.tolist())
    show('parameters', result.params)
    show('state', result.state.mutable_state)
    if model is bayesian:
        drawn = Predictive(model, guide=guide, params=result.params, num_samples=4)
        show('predicted', drawn(jax.random.key(2), jnp.asarray(X)))
