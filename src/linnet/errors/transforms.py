"""Errors about lifted transforms and traces (LN4xx)."""

from __future__ import annotations

from collections.abc import Sequence

import jax

from linnet.errors._base import LinnetError
from linnet.errors._suggest import brief, class_name, listing


class JaxTransformError(LinnetError, TypeError):
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

    @classmethod
    def no_hash(cls, module_cls: object, *, where: str = '') -> JaxTransformError:
        """A bound module was given to a transform of JAX as a function, or hashed otherwise."""
        name = class_name(module_cls)
        error = cls(subject=f'the module {name}', where=where)
        error.what = f'{name} is bound to variables, so it has no hash'
        error.why = (
            'no hash sees the variables; jax.jit, jax.checkpoint and others look up by it what '
            'they have compiled, so they cannot take the module as a function'
        )
        error.mend = f'nn.jit({name})(...)(x), nn.remat({name})(...)(x); or module.unbind()[0]'
        error.args = (error.what,)
        return error

    @classmethod
    def closed_over(cls, transform: str, subject: str, *, where: str = '') -> JaxTransformError:
        """A function under a lifted transform closes over a module that makes or changes state."""
        error = cls(transform=transform, subject=subject, where=where)
        error.what = f'{subject} is of a module that the function under {transform} closes over'
        error.why = f'{transform} lifts the modules that are passed to it, and no others'
        error.mend = f'pass the module in: {transform}(lambda module, x: module(x), ...)(module, x)'
        error.args = (error.what,)
        return error


class TracedFlagError(LinnetError, jax.errors.TracerBoolConversionError):
    """A value that a transform traces was used as a condition of Python.

    Wrong::

        jax.jit(model.apply)(variables, x, True)             # __call__(self, x, train)
        nn.remat(Block, static_argnums=(1,))()(x, True)      # self is argument 0, x is 1

    Right::

        jax.jit(model.apply, static_argnums=2)(variables, x, True)
        nn.remat(Block, static_argnums=(2,))()(x, True)

    Reason: a condition decides which program is traced, so it must be known before. Transforms
    trace all arguments, also ``True``, unless they are named as static.
    """

    code = 'LN406'

    def __init__(
        self,
        name: str = '',
        *,
        line: str = '',
        calls: Sequence[str] = (),
        transform: str = '',
        static: Sequence[int] = (),
        parameters: Sequence[str] = (),
        by_keyword: bool = False,
    ) -> None:
        thing = name or 'a value'
        self.what = (
            f'{thing} is traced, and is used as a condition{f" in `{line}`" if line else ""}'
        )
        if calls:
            self.what += f', which calls {listing(calls)}'
        self.why = 'a condition of Python decides which program is traced'
        self.mend = (
            f"jax.jit(fn, static_argnames='{name}')"
            if name
            else 'jnp.where(condition, a, b), or nn.cond; a flag is made static in jax.jit'
        )
        self.where = ''
        position = parameters.index(name) if name in parameters else None
        if transform and position is not None:
            counted = [f'{n} is {parameters[n]}' for n in static if 0 < n < len(parameters)]
            self.why = (
                f'{transform} traces all arguments but those of static_argnums={tuple(static)}, '
                f'in which self is 0; {", ".join([*counted, f"{name} is {position}"])}'
            )
            position_only = f', with {name} given by position' if by_keyword else ''
            self.mend = f'{transform}(..., static_argnums=({position},)){position_only}'
        Exception.__init__(self, self.what)


class UnboundAxisError(LinnetError, NameError):
    """A name of an axis was used where no transform has mapped an axis of that name.

    Wrong::

        nn.BatchNorm(use_running_average=False, axis_name='batch')      # and no vmap around

    Right::

        jax.vmap(lambda x: model.apply(variables, x), axis_name='batch')

    Reason: ``axis_name`` averages over an axis that ``vmap``, ``pmap`` or ``shard_map`` maps, and
    that was given the name there. ``init`` leaves it out of account.
    """

    code = 'LN407'

    def __init__(self, axis: str) -> None:
        super().__init__(
            f'there is no mapped axis of the name {axis!r} here',
            why='a transform around must have given an axis this name',
            mend=f'jax.vmap(..., axis_name={axis!r}), or leave axis_name out',
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
        example = transform or 'nn.jit'
        super().__init__(
            f'{transform or "a lifted transform"} was given {brief(target)}',
            why='it takes a Module class, or a function whose first argument is a Module',
            mend=_DIRECT.get(
                transform,
                f'{example}(MyModule)(...), or a method: {example}(MyModule.__call__)(self, x)',
            ),
        )


_DIRECT = {
    'nn.cond': 'nn.cond(pred, lambda m, x: m(x), lambda m, x: x, module, x)',
    'nn.custom_vjp': 'nn.custom_vjp(lambda m, x: m(x), forward, backward)(module, x)',
    'nn.grad': 'nn.grad(lambda m, x: m(x).sum(), module, x)',
    'nn.jvp': 'nn.jvp(lambda m, x: m(x), module, (x,), (x_dot,), variable_tangents={})',
    'nn.switch': 'nn.switch(index, [lambda m, x: m(x)], module, x)',
    'nn.value_and_grad': 'nn.value_and_grad(lambda m, x: m(x).sum(), module, x)',
    'nn.vjp': 'nn.vjp(lambda m, x: m(x), module, x)',
    'nn.while_loop': 'nn.while_loop(lambda m, x: x < 9, lambda m, x: m(x), module, x)',
}
"""Of transforms that are called on a module at once, a line that does."""


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
