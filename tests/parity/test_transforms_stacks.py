"""Every way of lifting around every body, and drawn stacks of ways around drawn bodies."""

from __future__ import annotations

import contextlib
import itertools
import re

import hypothesis
import hypothesis.strategies as st
import pytest

from linnet.errors import LinnetError
from tests.parity.harness import MODES, ORACLE, OURS, Case
from tests.parity.models import X
from tests.parity.transforms import (
    ALL_MODES,
    BODIES,
    DEEP,
    STREAMS,
    WAYS,
    forget_programs_at_times,
    run_lifted,
    stack,
)

# Some programs ask for members that start equal, which is what they test.
pytestmark = pytest.mark.filterwarnings('ignore::linnet.errors.EqualMembersWarning')

REVERSE = ('vjp', 'grad', 'value_and_grad', 'custom_vjp')
NO_NAME_FOR_BOXES = ('remat_scan', 'vmap_one_key', 'scan_same')
"""Ways that give boxes of metadata no axis, or a negative one, which both libraries refuse."""
CANNOT = re.compile(
    'No constant handler for type|unexpected tracer|Custom VJP bwd rule must produce'
    '|tuple index out of range|inconsistent sizes'
    r'|map_variables\(while_loop\(.*but the collection is empty'
)
"""What is said where the oracle fails by accident. Of its custom_vjp: tracers got out, or it made
variables inside. Of a ``setup`` that ran outside of the axes that its variables are to have. Of a
compact method in map_variables in a loop, whose automatic names went on when it was called anew."""
SETUP = ('scale', 'setup')
SETS_UP_INSIDE = {'jit', 'fold_rngs'}
"""Ways in which ours runs ``setup`` inside of the axes; in others, a function or a subclass does
so outside, and both libraries refuse."""
CHANGING_CARRY = ('scan_recurrent', 'while_loop')
"""Ways with state in a carry, which in the oracle must be mutable, see the deviations."""


def possible(ways: tuple[str, ...], body: str, mode: str = 'eager_typed') -> bool:
    """Tells whether a stack is a program at all."""
    if body == 'boxed' and any(way in NO_NAME_FOR_BOXES for way in ways):
        return False
    if 'jvp' in ways and 'custom_vjp' in ways[ways.index('jvp') :]:
        return False  # JAX has no forward derivative there
    if 'while_loop' not in ways:
        return True
    outside = ways[: len(ways) - ways[::-1].index('while_loop')]
    return mode != 'grad' and not any(way in REVERSE for way in outside)


def compare(ways: tuple[str, ...], body: str, mode: str, number: int = 1) -> None:
    forget_programs_at_times()
    apply = {'mutable': True} if any(way in CHANGING_CARRY for way in ways) else {}
    case = Case(
        lambda nn: stack(nn, ways, body, number), (X,), streams=STREAMS, mutable=True, apply=apply
    )
    if len(ways) == 1:
        run_lifted(case, mode)
    else:
        refuses = body in SETUP and not set(ways[:-1]) <= SETS_UP_INSIDE
        compare_where_the_oracle_can(case, mode, refuses)


def compare_where_the_oracle_can(case: Case, mode: str, refuses: bool) -> None:
    """Compares a stack of several ways; the oracle fails at some.

    Args:
        case: the stack.
        mode: how it runs.
        refuses: whether ours, too, may refuse what the oracle fails at.
    """
    try:
        MODES[mode](case, ORACLE)
    except Exception as error:
        if CANNOT.search(str(error)):
            with contextlib.suppress(LinnetError) if refuses else contextlib.nullcontext():
                MODES[mode](case, OURS)  # a deviation, see the documents: ours runs
        else:
            with pytest.raises((type(error), LinnetError)):
                MODES[mode](case, OURS)
    else:
        run_lifted(case, mode)


PAIRS = [
    (way, body, mode)
    for i, (way, body) in enumerate(itertools.product(WAYS, BODIES))
    for mode in (ALL_MODES if DEEP else (ALL_MODES[i % 3],))
    if possible((way,), body, mode) and (DEEP or i % 4 == 0 or body == 'small')
]


@pytest.mark.parametrize(('way', 'body', 'mode'), PAIRS)
def test_way_around_body(way: str, body: str, mode: str) -> None:
    compare((way,), body, mode)


def test_that_there_are_enough_of_them() -> None:
    assert len(WAYS) * len(BODIES) >= 250


@hypothesis.given(
    st.lists(st.sampled_from(WAYS), min_size=2, max_size=4).map(tuple),
    st.sampled_from(BODIES),
    st.sampled_from(['eager_typed', 'eager_typed', 'jit_raw', 'grad', 'vmap']),
    st.integers(0, 2),
)
def test_stack(ways: tuple[str, ...], body: str, mode: str, number: int) -> None:
    hypothesis.assume(possible(ways, body, mode))
    compare(ways, body, mode, number)
