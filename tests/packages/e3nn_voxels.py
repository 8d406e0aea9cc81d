# requires: e3nn-jax==0.21.0 dm-haiku==0.0.17
"""Equivariant layers of e3nn: messages between points, and a convolution of voxels.

The convolution keeps arrays that it makes in ``init`` for later calls, so it is called often.
"""

import e3nn_jax as e3nn
import flax.linen as nn
import jax
import jax.numpy as jnp
from _digests import show
from e3nn_jax.experimental.voxel_convolution import ConvolutionFlax


class Messages(nn.Module):
    target: str

    @nn.compact
    def __call__(self, features, positions, senders, receivers):
        edges = positions[receivers] - positions[senders]
        shapes = e3nn.spherical_harmonics('0e+1o', edges, True, normalization='component')
        sent = e3nn.flax.Linear(features.irreps, name='up')(features)[senders]
        sent = e3nn.concatenate([sent, e3nn.tensor_product(sent, shapes)]).regroup()
        lengths = e3nn.bessel(jnp.linalg.norm(edges.array, axis=-1), 4)
        weights = e3nn.flax.MultiLayerPerceptron([8, sent.irreps.num_irreps], nn.gelu)(lengths)
        summed = e3nn.scatter_sum(sent * weights, dst=receivers, output_size=len(positions))
        return e3nn.flax.Linear(self.target)(summed)


def total(module, params, *args):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(module.apply(params, *args)))


positions = e3nn.normal('1o', jax.random.key(3), (5,))
features = e3nn.normal('2x0e+1o', jax.random.key(4), (5,))
senders, receivers = jnp.array([0, 1, 2, 3, 4, 0]), jnp.array([1, 2, 3, 4, 0, 2])
voxels = e3nn.normal('0e+1o', jax.random.key(1), (1, 4, 4, 4))
convolution = ConvolutionFlax(
    irreps_out=e3nn.Irreps('2x0e+1o'),
    irreps_sh=e3nn.Irreps('0e+1o'),
    diameter=3.0,
    num_radial_basis={0: 2, 1: 2},
    steps=(1.0, 1.0, 1.0),
)
for module, args in (
    (Messages('4x0e+2x1o'), (features, positions, senders, receivers)),
    (convolution, (voxels,)),
):
    name = type(module).__name__
    variables = module.init(jax.random.key(0), *args)
    show(name, variables)
    show('applied', module.apply(variables, *args))
    gradient = jax.jit(jax.grad(lambda v, m=module, a=args: total(m, v, *a)))
    for _ in range(4):
        show('gradient', gradient(variables))
