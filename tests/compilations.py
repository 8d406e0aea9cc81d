"""Counts what JAX compiles, whatever a cache of its keeps or forgets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import jax


@contextlib.contextmanager
def compilations() -> Iterator[list[str]]:
    """A ``with`` block that lists the names of the functions that are compiled in it."""
    names: list[str] = []

    def listen(event: str, _: float, **about: Any) -> None:
        if event.endswith('/backend_compile_duration'):
            names.append(str(about.get('fun_name', '')))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
