# requires: ott-jax==0.6.0 diffrax==0.7.2
"""Convex networks and a few steps of the neural dual of OTT."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _digests import show
from ott.neural.methods import neuraldual
from ott.neural.networks import icnn, potentials


def samples(seed, shift=0.0, size=16):
    random = np.random.default_rng(seed)
    while True:
        yield jnp.asarray(random.normal(size=(size, 2)).astype('float32') + shift)


key, x = jax.random.key(0), next(samples(5))
near_gaussian = (next(samples(7, size=40)), next(samples(8, 2.0, size=40)))
for name, network in {
    'ICNN': icnn.ICNN(dim_data=2, dim_hidden=[8, 8]),
    'near a Gaussian map': icnn.ICNN(
        dim_data=2, dim_hidden=[8, 4], gaussian_map_samples=near_gaussian
    ),
    'MLP': potentials.PotentialMLP(dim_hidden=[8]),
}.items():
    variables = network.init(key, x)
    show(name, variables)
    show('potential', network.apply(variables, x))
    gradient = network.potential_gradient_fn(variables['params'])
    show('gradient', jax.jit(gradient)(x))

dual = neuraldual.W2NeuralDual(
    dim_data=2,
    neural_f=icnn.ICNN(dim_data=2, dim_hidden=[8, 8]),
    neural_g=potentials.PotentialMLP(dim_hidden=[8], is_potential=False),
    optimizer_f=optax.adam(1e-3),
    optimizer_g=optax.adam(1e-3),
    num_train_iters=4,
    valid_freq=2,
    log_freq=2,
    logging=True,
    rng=key,
)
learned, logs = dual(samples(1), samples(2, 1.0), samples(3), samples(4, 1.0))
print(logs)
show('f', dual.state_f)
show('g', dual.state_g)
show('transported', learned.transport(x))
show('back', learned.transport(x, forward=False))
