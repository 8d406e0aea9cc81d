"""Errors about lifted transforms and traces (LN4xx)."""

from __future__ import annotations

from linnet.errors._base import LinnetError
from linnet.errors._suggest import brief


class JaxTransformError(LinnetError):
    """A plain JAX transform was put around code that makes or changes variables.

    Wrong::

        @nn.compact
        def __call__(self, x):
            return jax.jit(nn.Dense(3))(x)

    Right::

        @nn.compact
        def __call__(self, x):
            return nn.jit(nn.Dense)(3)(x)

    Reason: JAX transforms pure functions. A module reads and writes the variables of its scope,
    which JAX does not see; the transforms of ``linnet.linen`` hand them over explicitly.
    """

    code = 'LN401'

    def __init__(self, *, transform: str = '', subject: str = '', where: str = '') -> None:
        name = transform or 'a JAX transform'
        thing = subject or 'a module that holds variables'
        lifted = f'nn.{transform.rpartition(".")[2]}' if transform else 'nn.jit, nn.scan, nn.vmap'
        super().__init__(
            f'{name} was applied to {thing} inside a bound module',
            why='the variables of the module would not go through the transform',
            mend=f'use {lifted} in place of {name}',
            where=where,
        )


class TransformTargetError(LinnetError):
    """A lifted transform was given something it cannot lift.

    Wrong::

        nn.jit(nn.Dense(3))

    Right::

        nn.jit(nn.Dense)(3)

    Reason: a transform lifts a Module class, or a function whose first argument is a Module
    (often a method). An instance is already made, so the transform would come too late.
    """

    code = 'LN402'

    def __init__(self, target: object, *, transform: str = '') -> None:
        name = transform or 'a lifted transform'
        super().__init__(
            f'{name} was given {brief(target)}',
            why='it takes a Module class, or a function whose first argument is a Module',
            mend=f'{transform or "nn.jit"}(MyModule)(...), or a method: '
            f'{transform or "nn.jit"}(MyModule.__call__)(self, x)',
        )


class TransformedMethodReturnValueError(LinnetError):
    """A method under a lifted transform returned a Module or a Variable.

    Wrong::

        @nn.jit
        def layer(self):
            return nn.Dense(3)

    Right::

        @nn.jit
        def layer(self, x):
            return nn.Dense(3)(x)

    Reason: what is made inside a transform is bound to the scopes of its trace, which are gone
    when it returns. Return arrays.
    """

    code = 'LN403'

    def __init__(self, name: str, *, kind: str = 'a Module or a Variable') -> None:
        super().__init__(
            f'the transformed method {name!r} returned {kind}',
            why='it belongs to a trace that ends with the method',
            mend='call it inside the method and return the array it gives',
        )


class TraceContextError(LinnetError):
    """State that belongs to one trace was changed from inside another.

    Wrong::

        jax.grad(lambda w: module.put_variable('state', 'w', w))(w)

    Right::

        nn.grad(lambda module, w: module.put_variable('state', 'w', w), module, w)

    Reason: a value made inside a transform may not outlive it; written to state from outside,
    it would leak.
    """

    code = 'LN404'

    def __init__(self, message: str, *, why: str = '', mend: str = '', where: str = '') -> None:
        super().__init__(message, why=why, mend=mend, where=where)


class ScanError(LinnetError, TypeError, ValueError):
    """The body of a lifted loop, or its axes, do not have the form of a loop.

    Wrong::

        nn.scan(Block, variable_axes={'params': 0}, split_rngs={'params': True}, length=4)
        # where Block.__call__(self, x) returns y

    Right::

        # Block.__call__(self, carry, x) returns (carry, y)

    Reason: a loop hands a carry from one iteration to the next, of the same structure, shapes
    and dtypes each time, beside inputs that it cuts and outputs that it stacks along an axis.
    """

    code = 'LN405'
