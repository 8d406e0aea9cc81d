"""Calls a function on arrays with several batch axes as if they had one.

*Merging* makes one axis of the leading ones, ``[2, 3, rest...] -> [6, rest...]``; *splitting*
undoes it. An array with fewer axes than are merged is passed on as it is.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from linnet.errors.layers import InputShapeError, InvalidOptionError
from linnet.errors.sharp_bits import WidthWarning
from linnet.linen._inputs import warn_here

_tree_map = jax.tree_util.tree_map


class BatchApply:
    """A function of arrays with ``num_dims`` batch axes, made of one of arrays with a single one.

    >>> import jax.numpy as jnp, linnet.linen as nn
    >>> nn.BatchApply(lambda x: x[:, ::2], num_dims=2)(jnp.ones((2, 3, 4))).shape
    (2, 3, 2)

    Args:
        f: the function, or a module; its outputs must keep the merged axis first.
        num_dims: number of leading axes that are merged for it; a negative one leaves that many
            axes at the end as they are.
    """

    def __init__(self, f: Callable[..., Any], num_dims: int = 2) -> None:
        if not num_dims:
            raise InvalidOptionError('num_dims=0 merges no axes', mend='num_dims=2')
        self.f = f
        self.num_dims = num_dims

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Merges the leading axes of the arguments, calls the function, splits its outputs.

        Raises:
            InputShapeError: no argument has ``num_dims`` axes, or an output lacks the merged axis.
        """
        example = arbitrary_mergeable_leaf(self.num_dims, args, kwargs)
        if example is None:
            shapes = [np.shape(x) for x in jax.tree_util.tree_leaves((args, kwargs))]
            raise InputShapeError(
                f'no argument of BatchApply has {self.num_dims} axes: their shapes are {shapes}',
                mend=f'BatchApply(f, num_dims={max(map(len, shapes), default=0) or 1})',
            )
        batch = tuple(np.shape(example)[: self.num_dims])
        _warn_if_unequal(batch, self.num_dims, (args, kwargs))
        merge = functools.partial(merge_leading_dims, num_dims=self.num_dims)
        args, kwargs = _tree_map(merge, (args, kwargs))
        return _tree_map(
            functools.partial(split_leading_dim, to_dim=batch), self.f(*args, **kwargs)
        )


def _warn_if_unequal(batch: tuple[int, ...], num_dims: int, arguments: Any) -> None:
    """Warns of arguments whose batch axes differ: merged, they may fit each other by accident."""
    for x in jax.tree_util.tree_leaves(arguments):
        other = np.shape(x)[:num_dims]
        if ndim_at_least(x, num_dims) and other != batch:
            warn_here(
                WidthWarning,
                f'BatchApply merges the leading axes {batch} of one argument and {tuple(other)} '
                'of another, which do not name the same batch',
            )


def ndim_at_least(x: Any, num_dims: int) -> bool:
    """Returns whether ``x`` has at least ``num_dims`` axes; what is no array has none."""
    return np.ndim(x) >= num_dims


def arbitrary_mergeable_leaf(
    min_num_dims: int, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """The first array with at least ``min_num_dims`` axes, or None; ``args`` come first."""
    for x in jax.tree_util.tree_leaves(args) + jax.tree_util.tree_leaves(kwargs):
        if ndim_at_least(x, min_num_dims):
            return x
    return None


def merge_leading_dims(x: Any, num_dims: int) -> Any:
    """Makes one axis of the first ``num_dims``; what has fewer stays as it is.

    >>> merge_leading_dims(np.ones((2, 3, 4)), 2).shape
    (6, 4)
    """
    if not ndim_at_least(x, num_dims):
        return x
    return x.reshape((math.prod(x.shape[:num_dims]), *x.shape[num_dims:]))


def split_leading_dim(x: Any, to_dim: Sequence[int]) -> Any:
    """Splits the first axis into axes of the sizes ``to_dim``.

    >>> split_leading_dim(np.ones((6, 4)), (2, 3)).shape
    (2, 3, 4)

    Raises:
        InputShapeError: the first axis is not as long as they make together.
    """
    shape = np.shape(x)
    if not shape or shape[0] != math.prod(to_dim):
        raise InputShapeError(
            f'the first axis of shape {shape} is not {math.prod(to_dim)} long, so that it cannot '
            f'be split into {tuple(to_dim)}',
            why='an output keeps the merged batch axis first',
        )
    return x.reshape((*to_dim, *shape[1:]))
