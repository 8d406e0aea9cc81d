# requires: clu==0.0.12
"""Trains a small network whose metrics and overview of parameters come from CLU."""

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from _digests import show
from clu import metrics, parameter_overview

# CLU gives `jnp.clip` an argument that JAX has renamed.
clip = jnp.clip
jnp.clip = lambda x, a_min=None, **options: clip(x, a_min, **options)


@flax.struct.dataclass
class Metrics(metrics.Collection):
    accuracy: metrics.Accuracy
    loss: metrics.Average.from_output('loss')
    spread: metrics.Std.from_output('loss')
    rate: metrics.LastValue.from_output('rate')
    largest: metrics.Average.from_fun(lambda logits, **_: logits.max())


class Network(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(4, (3, 3))(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(x))
        x = nn.Dropout(0.3, deterministic=not train)(x)
        return nn.Dense(3)(x.mean((1, 2)))


images, labels = jax.random.normal(jax.random.key(0), (8, 6, 6, 1)), jnp.arange(8) % 3
network, optimizer = Network(), optax.adam(1e-2)
variables = network.init(jax.random.key(1), images, False)
for stats in (True, False):
    print(parameter_overview.get_parameter_overview(variables, include_stats=stats))
print(parameter_overview.get_parameter_overview(flax.core.freeze(variables)))


@jax.jit
def step(variables, state, key, collected):
    def loss(params):
        given = {**variables, 'params': params}
        logits, changed = network.apply(
            given, images, True, rngs={'dropout': key}, mutable=['batch_stats']
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean(), (logits, losses, changed)

    (_, (logits, losses, changed)), grads = jax.value_and_grad(loss, has_aux=True)(
        variables['params']
    )
    updates, state = optimizer.update(grads, state)
    seen = Metrics.single_from_model_output(logits=logits, labels=labels, loss=losses, rate=1e-2)
    params = optax.apply_updates(variables['params'], updates)
    return {**changed, 'params': params}, state, collected.merge(seen)


state, collected = optimizer.init(variables['params']), Metrics.empty()
for number in range(5):
    variables, state, collected = step(variables, state, jax.random.key(number), collected)
show('variables', variables)
show('metrics', collected)
print({name: repr(value) for name, value in collected.compute().items()})
print(flax.serialization.to_state_dict(collected).keys())
