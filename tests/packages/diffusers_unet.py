# requires: diffusers==0.35.2 huggingface-hub==0.36.2
"""Tiny models of Diffusers: a conditional U-Net with its gradient, and an autoencoder."""

import os
import tempfile

os.environ['HF_HUB_OFFLINE'] = '1'

import jax
import jax.numpy as jnp
from _digests import show

# Diffusers uses names that JAX has removed.
jax.tree_map = jax.tree.map

from diffusers import FlaxAutoencoderKL, FlaxUNet2DConditionModel  # noqa: E402

key = jax.random.PRNGKey(0)
sample, times = jax.random.normal(key, (2, 4, 8, 8)), jnp.array([3, 5])
text = jax.random.normal(key, (2, 7, 16))
unet = FlaxUNet2DConditionModel(
    sample_size=8,
    layers_per_block=1,
    block_out_channels=(32, 32),
    down_block_types=('CrossAttnDownBlock2D', 'DownBlock2D'),
    up_block_types=('UpBlock2D', 'CrossAttnUpBlock2D'),
    cross_attention_dim=16,
    attention_head_dim=8,
    dropout=0.1,
)
print(sorted(unet.config.items()))
params = unet.init_weights(key)
show('U-Net', params)


@jax.jit
@jax.value_and_grad
def loss(params):
    given = {'params': params}
    made = unet.apply(given, sample, times, text, train=True, rngs={'dropout': key})
    return jnp.mean(made.sample**2)


value, grads = loss(params)
print('loss', repr(float(value)))
show('gradients', grads)
with tempfile.TemporaryDirectory() as folder:
    unet.save_pretrained(folder, params=params)
    show('loaded', FlaxUNet2DConditionModel.from_pretrained(folder)[1])

vae = FlaxAutoencoderKL(
    down_block_types=('DownEncoderBlock2D',) * 2,
    up_block_types=('UpDecoderBlock2D',) * 2,
    block_out_channels=(16, 32),
    norm_num_groups=8,
    sample_size=16,
)
params = vae.init_weights(key)
show('autoencoder', params)
images = jax.random.normal(key, (1, 3, 16, 16))
code = vae.apply({'params': params}, images, method=vae.encode).latent_dist
show('code', (code.mean, code.sample(key)))
show('image', vae.apply({'params': params}, code.mean, method=vae.decode).sample)
