"""Errors about variables, their collections and scopes (LN2xx)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from linnet.errors._base import LinnetError
from linnet.errors._suggest import SPLITTING, brief, described, did_you_mean, listing, sentences


class ScopeParamNotFoundError(LinnetError):
    """A module asks for a parameter that the variables passed to ``apply`` do not hold.

    Wrong::

        model.apply({'params': {'Dense_0': {'bias': b}}}, x)

    Right::

        model.apply(model.init(key, x), x)

    Reason: parameters are made by ``init`` only; ``apply`` reads them under the path of the
    module. A name that changed, in the code or in the file, is the usual cause.
    """

    code = 'LN201'

    def __init__(self, param_name: str, scope_path: str, *, known: Iterable[str] = ()) -> None:
        known = tuple(known)
        super().__init__(
            f'parameter {param_name!r} is not in the variables given',
            why=sentences(
                f"'params' holds {listing(known)} there.",
                did_you_mean(param_name, known),
                '' if known else 'init makes what its method calls.',
            ),
            mend='variables = model.init(key, x); model.apply(variables, x)',
            where=scope_path,
        )


class ScopeParamShapeError(LinnetError):
    """A parameter has another shape than this call needs.

    Wrong::

        variables = nn.Dense(4).init(key, jnp.ones((2, 5)))
        nn.Dense(4).apply(variables, jnp.ones((2, 3)))

    Right::

        variables = nn.Dense(4).init(key, jnp.ones((2, 5)))
        nn.Dense(4).apply(variables, jnp.ones((7, 5)))

    Reason: the shapes of parameters follow from the input and the options of the layer at
    ``init``; later calls must agree with both.
    """

    code = 'LN202'

    def __init__(
        self,
        param_name: str,
        scope_path: str,
        value_shape: Sequence[int],
        init_shape: Sequence[int],
    ) -> None:
        has, needs = tuple(value_shape), tuple(init_shape)
        why, mend = _shape_cause(param_name, has, needs)
        super().__init__(
            f'parameter {param_name!r} has shape {has}, this call needs {needs}',
            why=why,
            mend=mend,
            where=scope_path,
        )


def _shape_cause(name: str, has: tuple[int, ...], needs: tuple[int, ...]) -> tuple[str, str]:
    """Reads off two shapes what probably differs from the time of ``init``; how to mend it."""
    if has and has[1:] == needs:
        return (
            f'the parameter has an extra leading axis of size {has[0]}, as replicate, vmap and '
            'scan add; or the input differs from the one at init',
            'jax.tree.map(lambda p: p[0], variables), or the transform that added the axis',
        )
    axis = _input_axis(name, has, needs)
    if axis is not None:
        return (
            f"the input's width differs from the one at init; expected input width {has[axis]}, "
            f'this input has {needs[axis]}',
            f'pass an input of width {has[axis]}, or run model.init again with this input',
        )
    if len(has) == len(needs) > 1 and has[:-1] == needs[:-1]:
        return (
            f'the layer now has {needs[-1]} features, at init it had {has[-1]} '
            '(or the input has another width)',
            'build the model with the options it had at init, or run model.init again',
        )
    return (
        "the input's shape or the module's options differ from the ones at init",
        'pass the input shape and options used at init, or run model.init again',
    )


def _input_axis(name: str, has: tuple[int, ...], needs: tuple[int, ...]) -> int | None:
    """The axis of a kernel's shape that is the input's width, if the shapes differ just there.

    A kernel is ``(in, out)`` or ``(*window, in, out)``; with three axes it may also be
    ``(in, heads, head_dim)``, so that the shape does not tell.
    """
    if name != 'kernel' or len(has) != len(needs) or len(has) in (0, 1, 3):
        return None
    differ = [axis for axis, sizes in enumerate(zip(has, needs, strict=True)) if len({*sizes}) > 1]
    return differ[0] if differ == [len(has) - 2] else None


class ScopeCollectionNotFound(LinnetError):
    """A module reads a collection that the variables do not hold at its path.

    Wrong::

        model.apply({'params': params}, x)           # the model holds a BatchNorm

    Right::

        model.apply({'params': params, 'batch_stats': batch_stats}, x)

    Reason: ``init`` returns all collections, and each is needed wherever it is read. Inside a
    lifted transform only the collections that were listed in ``variable_axes``,
    ``variable_broadcast`` or ``variable_carry`` exist.
    """

    code = 'LN203'

    def __init__(
        self,
        col_name: str,
        var_name: str,
        scope_path: str,
        *,
        known: Iterable[str] = (),
        hidden_by: str = '',
    ) -> None:
        known = tuple(known)
        is_empty = col_name in known
        what = f'there is no collection {col_name!r} here, so no variable {var_name!r} in it'
        if is_empty:
            what = f'the collection {col_name!r} is empty, it has no variable {var_name!r}'
        if hidden_by:
            why = f'{hidden_by} was not told how to pass on the collection {col_name!r}'
            mend = _lift_mend(hidden_by, col_name)
        else:
            there = f'The variables hold {listing(known)}.'
            why = sentences(there, '' if is_empty else did_you_mean(col_name, known))
            mend = f"model.apply({{'params': params, '{col_name}': {col_name}}}, x)"
            if col_name == 'params':
                mend = 'variables = model.init(key, x); model.apply(variables, x)'
                if known and not is_empty:  # what lies in 'params' was passed without that level
                    mend = "model.apply({'params': params}, x)"
        super().__init__(what, why=why, mend=mend, where=scope_path)


def _lift_mend(transform: str, collection: str) -> str:
    """The line that passes a collection through a lifted transform."""
    if transform.endswith('map_variables'):
        return 'nn.map_variables(..., init=self.is_initializing())'
    if transform.endswith('while_loop') or transform.endswith('cond'):
        return f'make the variables before {transform}: call the module once while initializing'
    if transform not in SPLITTING:
        return f'{transform}(..., variables=True)'
    line = f"{transform}(..., variable_axes={{'{collection}': 0}})"
    if transform.endswith('scan'):
        other = 'broadcast' if collection == 'params' else 'carry'
        line += f", or variable_{other}='{collection}'"
    return line


class ScopeVariableNotFoundError(LinnetError, ValueError):
    """A module reads a variable that its collection does not hold.

    Wrong::

        count = self.get_variable('state', 'count')
        self.variable('state', 'cuont')

    Right::

        count = self.variable('state', 'count', lambda: jnp.zeros(()))

    Reason: a variable exists after it was made by ``variable`` with an initial value or passed
    in to ``apply``.
    """

    code = 'LN204'

    def __init__(self, name: str, col: str, scope_path: str, *, known: Iterable[str] = ()) -> None:
        known = tuple(known)
        super().__init__(
            f'there is no variable {name!r} in the collection {col!r}',
            why=sentences(f'{col!r} holds {listing(known)} there.', did_you_mean(name, known)),
            mend=f'self.variable({col!r}, {name!r}, init_fn), or pass it in the variables',
            where=scope_path,
        )


class ModifyScopeVariableError(LinnetError):
    """A variable was changed whose collection is read-only in this call.

    Wrong::

        y = model.apply(variables, x, train=True)

    Right::

        y, updates = model.apply(variables, x, train=True, mutable=['batch_stats'])
        variables = {**variables, **updates}

    Reason: a call leaves its variables as they are unless ``mutable`` names the collection;
    then it returns the changed collections next to the output, and the caller keeps them.
    """

    code = 'LN205'

    def __init__(
        self,
        col: str,
        variable_name: str,
        scope_path: str,
        *,
        mutable: Iterable[str] = (),
        held_by: str = '',
    ) -> None:
        stats = ', or use_running_average=True' if col == 'batch_stats' else ''
        why = sentences('mutable does not name the collection.', did_you_mean(col, mutable))
        mend = f"y, updates = model.apply(variables, x, mutable=['{col}']){stats}"
        if held_by:
            why, mend = _held_mend(held_by, col)
        super().__init__(
            f'cannot change variable {variable_name!r}: its collection {col!r} is read-only '
            f'{f"inside {held_by}" if held_by else "in this apply"}',
            why=why.rstrip('.'),
            mend=mend,
            where=scope_path,
        )


def _held_mend(transform: str, col: str) -> tuple[str, str]:
    """Why a transform lets a collection that is mutable outside be read only, and what lets it."""
    if transform.startswith('the condition'):
        return 'whether to go on is asked without changing anything', 'change it in the body'
    option = {
        'nn.map_variables': 'mutable=True',
        'nn.while_loop': f"carry_variables='{col}'",
        'nn.scan': f"variable_carry='{col}'",
    }.get(transform, f"variables=True, or variable_axes={{'{col}': 0}}")
    return f'{transform} was not told that it changes', f'{transform}(..., {option})'


class ImmutableVariableError(LinnetError):
    """A list in an attribute of a module was changed.

    Wrong::

        def setup(self):
            self.layers = []
            self.layers.append(nn.Dense(3))

    Right::

        def setup(self):
            self.layers = [nn.Dense(3) for _ in range(2)]

    Reason: a module is frozen, with what it holds: a list becomes a tuple as it is assigned, and
    the modules in it get their names then. Make the whole list first.
    """

    code = 'LN206'

    def __init__(self, message: str, *, why: str = '', mend: str = '', where: str = '') -> None:
        super().__init__(message, why=why, mend=mend, where=where)


class InvalidScopeError(LinnetError):
    """A scope, or a module bound to it, is used after the call that it belonged to.

    Wrong::

        model.apply(variables, x, method=lambda m, x: kept.append(m))
        kept[0](x)

    Right::

        bound = model.bind(variables)
        bound(x)

    Reason: a scope is a cursor into the variables of one call. Once the call has returned, or
    the lifted transform that made it, nothing may be read or written through it.
    """

    code = 'LN207'

    def __init__(self, scope_name: str | None) -> None:
        super().__init__(
            f'the scope {scope_name or "/"!r} is no longer valid',
            why='the call or the transform that it belonged to has ended',
            mend='bound = model.bind(variables); bound(x)',
        )


class InvalidFilterError(LinnetError):
    """A filter of collections or streams is none of the forms that a filter has.

    Wrong::

        model.apply(variables, x, mutable=3)

    Right::

        model.apply(variables, x, mutable=['batch_stats'])

    Reason: a filter is a name, a container of names, True for all, False for none, or
    ``DenyList`` of a filter for all others.
    """

    code = 'LN208'

    def __init__(self, filter_like: object) -> None:
        super().__init__(
            f'{brief(filter_like)} is not a filter',
            why='a filter is a string, a container of strings, True, False, or a DenyList',
            mend="mutable=['batch_stats']",
        )


class LazyInitError(LinnetError):
    """The values of parameters depend on the values of an input that has only a shape.

    Wrong::

        Scaled().lazy_init(key, jax.ShapeDtypeStruct((2, 3), jnp.float32))   # reads x.mean()

    Right::

        Scaled().init(key, x)

    Reason: ``lazy_init`` computes parameters without running the model, so their initial
    values may depend on shapes and dtypes of the input only.
    """

    code = 'LN209'

    def __init__(self, partial_val: Any) -> None:
        super().__init__(
            f'an initial value depends on the input, of which only the shape is known: '
            f'{brief(partial_val)}',
            why='lazy_init was given shapes in place of arrays',
            mend='variables = model.init(key, x), with an actual x',
        )


class ApplyScopeInvalidVariablesTypeError(LinnetError):
    """The first argument of ``apply`` is not a dict of collections.

    Wrong::

        model.apply(params_list, x)

    Right::

        model.apply({'params': params}, x)

    Reason: variables are a nested dict with string keys; at the top it holds collections such
    as 'params'. The variables come first, then the inputs.
    """

    code = 'LN210'

    def __init__(self, *, variables: Any = None, bad_key: Any = None, where: str = '') -> None:
        given = f', got {described(variables)}'
        if bad_key is not None:
            given = f', got the key {brief(bad_key)}'
        super().__init__(
            f'the variables must be a dict whose keys are names of collections{given}',
            why='the first argument of apply() is the variables, the inputs follow',
            mend="model.apply({'params': params}, x)",
            where=where,
        )


class ApplyScopeInvalidVariablesStructureError(LinnetError):
    """The variables hold a 'params' level inside 'params'.

    Wrong::

        variables = model.init(key, x)
        model.apply({'params': variables}, x)

    Right::

        variables = model.init(key, x)
        model.apply(variables, x)

    Reason: ``init`` returns all collections, ``{'params': ...}``; wrapped once more, the
    parameters lie one level too deep.
    """

    code = 'LN211'

    def __init__(self, variables: Any) -> None:
        inner = variables.get('params') if isinstance(variables, Mapping) else None
        levels = listing(inner) if isinstance(inner, Mapping) else "'params'"
        super().__init__(
            f"the variables have an extra 'params' level: variables['params'] holds {levels}",
            why='what init returns is the variables already',
            mend="model.apply(variables, x), or {'params': variables['params']}",
        )


class PartitioningUnspecifiedError(LinnetError):
    """A lifted transform adds an axis to a partitioned variable and was not told its name.

    Wrong::

        nn.scan(Block, variable_axes={'params': 0}, length=4)

    Right::

        nn.scan(Block, variable_axes={'params': 0}, length=4,
                metadata_params={nn.PARTITION_NAME: 'layers'})

    Reason: ``Partitioned`` names every axis of its array, so a new axis needs a name as well;
    None stands for an axis that is not sharded.
    """

    code = 'LN212'

    def __init__(self, target: object) -> None:
        super().__init__(
            f'a lifted transform adds an axis to {brief(target)} and has no name for it',
            why='metadata_params does not say nn.PARTITION_NAME',
            mend="metadata_params={nn.PARTITION_NAME: 'layers'}",
        )
