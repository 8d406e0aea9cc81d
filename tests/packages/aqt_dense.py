# requires: aqtp==0.9.0
"""Quantised layers of AQT: trained in eight bits, calibrated, converted, served from integers."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from _digests import show
from aqt.jax.v2 import config
from aqt.jax.v2.flax import aqt_flax, aqt_flax_calibration
from aqt.jax.v2.flax.aqt_flax import FreezerMode, QuantMode

EIGHT_BITS = config.config_v4(fwd_bits=8, dlhs_bits=8, drhs_bits=8)
CALIBRATED = config.config_v4(fwd_bits=8, dlhs_bits=8, drhs_bits=8)
config.set_fwd_calibration(
    CALIBRATED,
    functools.partial(aqt_flax_calibration.MeanOfAbsMaxCalibration, quant_collection='ranges'),
)
CALIBRATED.fwd.dg_quantizer.lhs.calib_shared_axes = 'per_tensor'


class Network(nn.Module):
    mode: QuantMode = QuantMode.TRAIN

    @nn.compact
    def __call__(self, x):
        options = {
            'cfg': EIGHT_BITS if self.mode == QuantMode.TRAIN else CALIBRATED,
            'lhs_quant_mode': self.mode,
            'rhs_quant_mode': self.mode,
            'lhs_freeze_mode': FreezerMode.CALIBRATION,
            'rhs_freeze_mode': FreezerMode.CALIBRATION_AND_VALUE,
        }
        dot_general = functools.partial(aqt_flax.AqtDotGeneral, **options)
        x = nn.LayerNorm()(nn.relu(nn.Dense(8, dot_general_cls=dot_general)(x)))
        weights = self.param('last', nn.initializers.lecun_normal(), (8, 3))
        return aqt_flax.AqtEinsum(**options)('bi,ij->bj', x, weights)


x = jax.random.normal(jax.random.key(0), (6, 5))
variables = Network().init(jax.random.key(1), x)
show('variables', variables)


@jax.jit
@jax.value_and_grad
def loss(params, key):
    made = Network().apply({'params': params}, x, rngs={'params': key})
    return jnp.mean((made - 1) ** 2)


params = variables['params']
for number in range(4):
    value, grads = loss(params, jax.random.key(number))
    params = jax.tree.map(lambda a, b: a - 0.1 * b, params, grads)
    print('loss', repr(float(value)))
show('trained', params)
variables = {'params': params}
rngs = {'params': jax.random.key(9)}
for mode in (QuantMode.CALIBRATE, QuantMode.CALIBRATE, QuantMode.CONVERT):
    made, variables = Network(mode).apply(variables, x, rngs=rngs, mutable=True)
    show(mode.name, variables)
    show('made', made)
show('served', jax.jit(Network(QuantMode.SERVE).apply)(variables, x, rngs=rngs))
