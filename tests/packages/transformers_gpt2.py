# requires: transformers==4.57.6
"""A tiny GPT-2 of Transformers: forward pass, gradients with dropout, and ways to generate."""

import os

os.environ['HF_HUB_OFFLINE'] = '1'

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _digests import show
from transformers import FlaxGPT2LMHeadModel, GPT2Config

# Names that Transformers uses and JAX has removed.
if not hasattr(jax.core, 'get_aval'):
    jax.core.get_aval = jax.typeof

config = GPT2Config(
    vocab_size=60,
    n_embd=16,
    n_layer=2,
    n_head=2,
    n_positions=40,
    bos_token_id=0,
    eos_token_id=2,
    pad_token_id=1,
)
model = FlaxGPT2LMHeadModel(config, seed=3)
show('params', model.params)
ids = jnp.asarray(np.random.default_rng(0).integers(5, 60, (2, 8)), 'i4')
mask = jnp.asarray([[1] * 8, [0] * 3 + [1] * 5], 'i4')


@jax.jit
def forward(params):
    shown = {'output_hidden_states': True, 'output_attentions': True}
    return model(ids, mask, params=params, **shown).to_tuple()


show('forward', forward(model.params))


def loss(params, key):
    logits = model(ids, mask, params=params, dropout_rng=key, train=True)[0]
    return optax.softmax_cross_entropy_with_integer_labels(logits[:, :-1], ids[:, 1:]).mean()


value, grads = jax.jit(jax.value_and_grad(loss))(model.params, jax.random.PRNGKey(1))
print('loss', repr(float(value)))
show('gradients', grads)
sampling = {'do_sample': True, 'top_k': 10, 'top_p': 0.9, 'temperature': 0.8}
for name, options in {
    'greedy': {'do_sample': False},
    'sampling': {**sampling, 'prng_key': jax.random.PRNGKey(2)},
    'beam search': {'num_beams': 3},
}.items():
    made = model.generate(ids, attention_mask=mask, max_length=14, **options)
    print(name, type(made).__name__, made.sequences.tolist())
show('scores', made.scores)
