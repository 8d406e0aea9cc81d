"""Two layers are 'tied' by giving them one array."""

# Finds: LN842
import jax
import jax.numpy as jnp

import linnet.linen as nn

net = nn.Sequential([nn.Dense(3), nn.Dense(3)])
x = jnp.ones((2, 3))
params = net.init(jax.random.key(0), x)['params']
params['layers_1'] = dict(params['layers_1'], kernel=params['layers_0']['kernel'])
net.apply({'params': params}, x)
