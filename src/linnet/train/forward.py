"""The model as a loss function sees it: a call, with variables and keys filled in."""

from __future__ import annotations

from typing import Any

import jax

from linnet.core.watching import evaluating
from linnet.errors.randomness import InvalidRngError
from linnet.errors.training import StreamError
from linnet.train.precision import Precision


class Forward:
    """Applies a model, and keeps what it changes in its collections.

    ``net(x)`` is ``model.apply(variables, x, rngs=keys, mutable=...)``, less what is the same in
    every call. A second call in the same step sees the collections as the first left them, and
    draws with other keys: each stream's, with the number of the call folded in.

    Attributes:
        train: whether this is a training step.
        variables: what the model is applied to; None until the first call where it makes them.
    """

    def __init__(
        self,
        model: Any,
        variables: dict[str, Any] | None,
        *,
        keys: dict[str, Any],
        train: bool,
        precision: Precision = Precision(),
    ) -> None:
        self.train = train
        self.variables = variables
        self._model = model
        self._keys = keys
        self._precision = precision
        self._calls = 0

    def __call__(self, *args: Any, method: Any = None, **kwargs: Any) -> Any:
        """Applies the model, or one of its methods.

        Args:
            *args: the arguments of the method; arrays are cast as the precision says.
            method: its name, or the function; ``__call__`` by default.
            **kwargs: its keyword arguments.

        Raises:
            StreamError: the model draws from a stream that has no key.
        """
        args, kwargs = self._precision.cast_in((args, kwargs))
        keys = self._keys
        if self._calls:
            keys = {name: jax.random.fold_in(key, self._calls) for name, key in keys.items()}
        self._calls += 1
        try:
            return self._precision.cast_out(self._run(keys, method, args, kwargs))
        except InvalidRngError as error:
            raise self._missing(error) from error

    @property
    def collections(self) -> dict[str, Any]:
        """The variables that are no parameters."""
        return {name: value for name, value in (self.variables or {}).items() if name != 'params'}

    def _run(self, keys: Any, method: Any, args: Any, kwargs: Any) -> Any:
        if self.variables is None:
            output, variables = self._model.init_with_output(keys, *args, method=method, **kwargs)
            self.variables = dict(variables)
            return output
        variables = dict(self.variables)
        if 'params' in variables:
            variables['params'] = self._precision.cast_in(variables['params'])
        mutable = list(self.collections) if self.train else []
        keys = {name: key for name, key in keys.items() if name != 'params'}
        with evaluating(not self.train):
            output = self._model.apply(
                variables, *args, rngs=keys, mutable=mutable or False, method=method, **kwargs
            )
        if not mutable:
            return output
        output, updates = output
        self.variables = {**self.variables, **_like(updates, self.variables)}
        return output

    def _missing(self, error: InvalidRngError) -> StreamError:
        option = 'streams' if self.train else 'eval_streams'
        given = tuple(name for name in self._keys if name != 'params')
        return StreamError(
            error.what,
            why=f'keys are derived for {option}={given}',
            mend=f"Trainer(..., {option}=('dropout', ...)) with the stream's name, or draw nothing "
            'where net.train is False',
            where=error.where,
        )


def _like(updates: Any, variables: Any) -> Any:
    """Keeps the dtype of each variable, so that one step's state fits the next."""

    def cast(new: Any, old: Any) -> Any:
        return new if new.dtype == old.dtype else new.astype(old.dtype)

    return {name: jax.tree.map(cast, new, variables[name]) for name, new in updates.items()}
