"""The network: three convolutions, each with batch normalisation, and a small head with dropout."""

import jax

import linnet.linen as nn


class ConvBlock(nn.Module):
    """Convolution, batch normalisation, ReLU: `[batch, h, w, in] -> [batch, h, w, features]`."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = nn.Conv(self.features, kernel_size=(3, 3), use_bias=False)(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        return nn.relu(x)


class DigitNet(nn.Module):
    """Reads 8 by 8 images of digits: `[batch, 8, 8, 1] -> [batch, 10]` scores."""

    width: int = 32
    dropout_rate: float = 0.3

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = ConvBlock(self.width)(x, train=train)
        x = ConvBlock(self.width)(x, train=train)
        x = nn.max_pool(x, window_shape=(2, 2), strides=(2, 2))  # [batch, 4, 4, width]
        x = ConvBlock(2 * self.width)(x, train=train)
        x = x.reshape(x.shape[0], -1)  # [batch, 4 * 4 * 2 * width]
        x = nn.Dropout(self.dropout_rate, deterministic=not train)(x)
        x = nn.relu(nn.Dense(4 * self.width)(x))
        x = nn.Dropout(self.dropout_rate, deterministic=not train)(x)
        return nn.Dense(10)(x)
