"""Room for Python's frames: what is called comes back as ever, and only a trace makes room."""

import threading

import jax
import jax.numpy as jnp
import pytest

import linnet.linen as nn
from linnet.core import scope
from linnet.core.frames import with_room


def depth_first(depth):
    """Counts calls that stand in one another, more than one chunk holds."""
    return 1 + depth_first(depth - 1) if depth else 0


def test_arguments_and_results_pass_through():
    assert with_room(lambda *args, **kwargs: (args, kwargs), 1, 2, fn=3) == ((1, 2), {'fn': 3})


def test_an_error_passes_through_and_the_next_call_works():
    with pytest.raises(ZeroDivisionError) as caught:
        with_room(lambda: 1 / 0)
    assert caught.value.__context__ is None
    assert with_room(depth_first, 700) == 700


def test_rooms_stand_in_one_another_and_in_threads():
    def nested(depth):
        return 1 + with_room(nested, depth - 1) if depth else with_room(depth_first, 300)

    found = []
    threads = [threading.Thread(target=lambda: found.append(nested(20))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [*found, nested(20)] == [320] * 5


def test_a_generator_goes_on_after_the_room_is_gone():
    def count():
        for number in range(3):
            yield with_room(depth_first, number)

    assert list(with_room(count)) == [0, 1, 2]


def test_only_a_trace_makes_room(monkeypatch):
    rooms = []

    def counted(fn, /, *args, **kwargs):
        rooms.append(fn)
        return with_room(fn, *args, **kwargs)

    monkeypatch.setattr(scope, 'with_room', counted)
    model, x = nn.Dense(3), jnp.ones((2, 4))
    variables = model.init(jax.random.key(0), x)
    assert len(rooms) == 1  # deferred
    expected = model.apply(variables, x)
    assert len(rooms) == 1  # eager
    assert (jax.jit(model.apply)(variables, x) == expected).all()
    assert len(rooms) == 2
    jax.eval_shape(model.init, jax.random.key(0), x)
    assert len(rooms) == 3
    jax.grad(lambda variables: model.apply(variables, x).sum())(variables)
    assert len(rooms) == 4
