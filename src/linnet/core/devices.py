"""Which device arrays are made on, and which kind it is."""

from __future__ import annotations

from typing import Any

import jax


def default_device() -> Any:
    """The device on which arrays are made when nobody says where."""
    device = jax.config.jax_default_device
    return device if hasattr(device, 'platform') else jax.local_devices(backend=device)[0]


def is_cuda(device: Any) -> bool:
    """Tells whether a device is a GPU that is programmed with CUDA."""
    return 'cuda' in device.client.platform_version.lower()
