"""A causal transformer with padding, dropout and bfloat16, trained under jit and evaluated."""

# Finds: nothing
import jax
import jax.numpy as jnp
import optax

import linnet.linen as nn


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, mask, train):
        y = nn.LayerNorm(dtype=jnp.bfloat16)(x)
        y = nn.MultiHeadDotProductAttention(
            2, dtype=jnp.bfloat16, dropout_rate=0.1, deterministic=not train
        )(y, mask=mask)
        x = x + nn.Dropout(0.1, deterministic=not train)(y)
        return x + nn.Dense(4, dtype=jnp.bfloat16)(nn.gelu(nn.Dense(8, dtype=jnp.bfloat16)(x)))


class Model(nn.Module):
    @nn.compact
    def __call__(self, ids, train):
        valid = ids > 0
        mask = nn.combine_masks(nn.make_causal_mask(ids), nn.make_attention_mask(valid, valid))
        embed = nn.Embed(6, 4, dtype=jnp.bfloat16)
        x = embed(ids)
        x = Block()(x, mask, train)
        return embed.attend(nn.LayerNorm(dtype=jnp.bfloat16)(x)).astype(jnp.float32)


model, ids = Model(), jnp.array([[1, 2, 3, 0], [4, 5, 0, 0]])
params = model.init(jax.random.key(0), ids, train=False)


@jax.jit
def step(params, key):
    def loss(params):
        logits = model.apply(params, ids, train=True, rngs={'dropout': key})
        losses = optax.softmax_cross_entropy_with_integer_labels(logits[:, :-1], ids[:, 1:])
        return jnp.where(ids[:, 1:] > 0, losses, 0.0).sum()

    return jax.tree.map(lambda p, g: p - 0.01 * g, params, jax.grad(loss)(params))


key = jax.random.key(1)
for i in range(3):
    params = step(params, jax.random.fold_in(key, i))
jax.jit(lambda p: model.apply(p, ids, train=False))(params)
