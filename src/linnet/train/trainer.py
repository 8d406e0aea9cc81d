"""The trainer: the parts of this package, put together.

It holds the state of a run and the compiled functions on it. ``fit`` goes on from where the state
is; ``evaluate`` and ``predict`` read it. Each part is a module of its own and can be used without
a trainer; :func:`linnet.train.step.make_train_step` is the step that it runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp

from linnet.errors._suggest import described, listing
from linnet.errors.training import EmptyDataError, TrainOptionError
from linnet.train.ahead import Ahead
from linnet.train.checkpointing import Checkpoints
from linnet.train.evaluation import evaluate, make_eval_step, make_forward, predict
from linnet.train.feed import Data, Feed, Position, as_arrays
from linnet.train.forward import Forward
from linnet.train.loop import Loop, Plan, Row
from linnet.train.metrics import Metrics
from linnet.train.precision import Precision
from linnet.train.progress import make_progress
from linnet.train.report import HtmlReport
from linnet.train.state import RunState, build_optimizer, create_state, init_variables
from linnet.train.step import Loss, SeparateStep, make_parts, make_scanned_step, make_train_step
from linnet.train.stopping import Watch
from linnet.train.writers import Writer

if TYPE_CHECKING:
    import optax

Hook = Callable[['Trainer', Row], None]
_MOST_AHEAD = 1000  # groups that are looked at for their shapes before a run begins


class Trainer:
    """Trains a model: ``fit``, ``evaluate``, ``predict``.

    The loss is a function of ``net``, which stands for ``model.apply`` with variables, keys and
    mutable collections filled in, and of a batch. It returns one loss for each example (or their
    mean), alone or with a dict of metrics. ``net.train`` tells training from evaluation.

    Example::

        >>> import numpy as np, optax, linnet.linen as nn
        >>> x = np.random.default_rng(0).normal(size=(70, 3)).astype(np.float32)
        >>> batches = [{'x': x[i : i + 16], 'y': x[i : i + 16].sum(1)} for i in range(0, 70, 16)]
        >>> def loss(net, batch):
        ...     return optax.l2_loss(net(batch['x'])[:, 0], batch['y'])
        >>> trainer = Trainer(nn.Dense(1), loss, optax.adam(0.1), progress='quiet')
        >>> rows = trainer.fit(batches, epochs=40)
        >>> trainer.evaluate(batches)['loss'] < 1e-3
        True
        >>> trainer.predict(batches, lambda net, batch: net(batch['x'])).shape
        (70, 1)

    Attributes:
        state: the state of the run, None before there is one. ``fit`` replaces it, and with
            ``donate`` the arrays of the state before are gone.
        history: a row of numbers for each time that there were some.
        train_step: the plain step, ``(state, batch) -> (state, metrics)``.
        eval_step: the plain step of evaluation.
        best_variables: those of the best evaluation, where something is watched.

    Args:
        model: the module.
        loss: ``loss(net, batch)``.
        optimizer: any optax transformation; a schedule inside it counts updates.
        seed: of everything that is drawn: parameters, and each stream at each step.
        streams: the random streams that the model draws from in training.
        eval_streams: those in evaluation and prediction; mostly none.
        precision: ``'float32'``, ``'bfloat16'``, or ``'float16'`` with a dynamic loss scale.
        clip: the largest global norm of gradients.
        accumulate: how many batches give their gradients to one update.
        ema: the decay of a running average of parameters, which evaluation uses.
        steps_per_call: how many steps run in one dispatch, where batches are alike in shape.
        donate: whether a step may reuse the memory of the state before.
        compile_ahead: whether ``fit`` compiles the step for all shapes of batches that are in a
            list before it begins, several at a time. For other data see :meth:`warm_up`.
        separate_update: whether the update of the parameters is a program of its own, which is
            compiled once for batches of all shapes. A step is then two dispatches, and numbers may
            differ in their last bits from those of one program.
        watch: the metric that says which state is best, and when to stop.
        on_nan: ``'raise'``, ``'stop'`` or ``'ignore'`` a loss that is not finite; it is looked at
            whenever numbers are shown or a state is saved.
        log_every: how many steps make a row.
        progress: ``'auto'``, ``'live'``, ``'plain'``, ``'quiet'``.
        writers: where rows go as well.
        hooks: functions of the trainer and each row.
        checkpoints: where states are saved, a folder or :class:`Checkpoints`.
        report: the page that ``fit`` writes when it ends, in whatever way.

    Raises:
        TrainOptionError: an option has a value that it does not know.
    """

    def __init__(
        self,
        model: Any,
        loss: Loss,
        optimizer: optax.GradientTransformation,
        *,
        seed: int = 0,
        streams: Sequence[str] = ('dropout',),
        eval_streams: Sequence[str] = (),
        precision: str = 'float32',
        clip: float | None = None,
        accumulate: int = 1,
        ema: float | None = None,
        steps_per_call: int = 1,
        donate: bool = True,
        compile_ahead: bool = True,
        separate_update: bool = False,
        watch: Watch | None = None,
        on_nan: Literal['raise', 'stop', 'ignore'] = 'raise',
        log_every: int = 50,
        progress: str = 'auto',
        writers: Sequence[Writer] = (),
        hooks: Sequence[Hook] = (),
        checkpoints: Checkpoints | str | None = None,
        report: HtmlReport | None = None,
    ) -> None:
        _check_parts(model, loss, optimizer)
        _check_options(on_nan, steps_per_call, log_every, streams, eval_streams)
        self.model, self.loss, self.seed = model, loss, seed
        self.precision, self.ema = Precision(precision).name, ema
        self.on_nan: str = on_nan
        self.streams, self.eval_streams = tuple(streams), tuple(eval_streams)
        self.optimizer = build_optimizer(optimizer, clip=clip, accumulate=accumulate)
        self.steps_per_call, self.log_every = steps_per_call, log_every
        self.compile_ahead = compile_ahead
        self.watch = watch
        self.writers: Sequence[Writer] = tuple(writers)
        self.hooks: Sequence[Callable[[Any, Row], None]] = tuple(hooks)
        self.progress = make_progress(progress)
        self.checkpoints = Checkpoints(checkpoints) if isinstance(checkpoints, str) else checkpoints
        self.report = report
        options: Any = {'streams': self.streams, 'precision': precision, 'ema': ema}
        self.train_step = make_train_step(model, loss, **options)
        self.eval_step = make_eval_step(model, loss, streams=self.eval_streams, precision=precision)
        donated = (0,) if donate else ()
        self._one_step: Any = jax.jit(self.train_step, donate_argnums=donated)
        if separate_update:
            self._one_step = SeparateStep(*make_parts(model, loss, **options), donate)
        self._some_steps = jax.jit(make_scanned_step(self.train_step), donate_argnums=donated)
        self._evaluate = jax.jit(self.eval_step)
        self._predictors: dict[Any, Any] = {}
        self._compiled: set[Any] = set()
        self.state: Any = None
        self.best_variables: Any = None
        self.history: list[Row] = []

    def init(self, batch: Any, variables: Mapping[str, Any] | None = None) -> RunState:
        """Makes the state of step 0, and keeps it.

        Args:
            batch: an example of a batch, for the shapes.
            variables: what to begin with, in place of new ones.
        """
        given = None if variables is None else _copy(dict(variables))
        self.state = self._new_state(as_arrays(batch), given)
        return self.state

    def warm_up(self, data: Iterable[Any]) -> None:
        """Compiles the step for the shapes of these batches, several at a time; trains nothing.

        For data that is not in a list, whose shapes ``fit`` cannot know before it meets them.

        Args:
            data: a batch of each shape; with ``steps_per_call`` as many as make a full group.

        Raises:
            EmptyDataError: there is no batch.
        """
        feed = Feed(list(data), self.steps_per_call)
        if self.state is None:
            self._init_while_compiling(feed, feed.first(), _MOST_AHEAD)
        else:
            with Ahead() as ahead:
                self._compile(ahead, self.state, feed, Position(), _MOST_AHEAD)

    def fit(
        self,
        data: Data,
        *,
        steps: int | None = None,
        epochs: int | None = None,
        valid: Iterable[Any] | Callable[[], Iterable[Any]] | None = None,
        valid_every: int | None = None,
        resume: bool = False,
    ) -> list[Row]:
        """Trains, from the state that there is or from a new one.

        Args:
            data: an iterable of batches for each epoch anew, or a function from the number of
                the epoch, from 0, to one.
            steps: the number of the step to end with, counted from the beginning of the run.
            epochs: the number of epochs, with those before an interruption; 1 where neither it
                nor ``steps`` is given.
            valid: batches to evaluate on, or a function that gives them.
            valid_every: how often in steps; None for the end of each epoch.
            resume: whether to go on from the newest checkpoint, where there is one.

        Returns:
            The rows that were added to ``history``.

        Raises:
            EmptyDataError: an epoch has no batch.
            BatchError: a batch is not like those before.
            NonFiniteLossError: a loss is not finite.
            TrainOptionError: the folder of checkpoints belongs to another run; or an option is
                out of range.
        """
        _check_plan(steps, epochs, valid, valid_every)
        if epochs is None and steps is None:
            epochs = 1
        if self.watch is not None and valid is None:
            self.progress.say(f'{self.watch.metric} is not watched: fit has no valid=')
        feed = Feed(data, self.steps_per_call)
        position = self._begin(feed, resume, steps)
        before = len(self.history)
        loop = Loop(self, Plan(feed, steps, epochs, valid, valid_every), position)
        self.progress.start(loop.done, _count(data, steps, epochs))
        with contextlib.ExitStack() as after:  # all of it is done, in whatever way the run ends
            if self.checkpoints is not None:
                after.callback(self.checkpoints.wait)
            after.callback(self._write_report)
            for writer in self.writers:
                after.callback(writer.close)
            after.callback(self.progress.stop)
            loop.run()
        return self.history[before:]

    def evaluate(
        self, data: Iterable[Any], *, variables: Mapping[str, Any] | None = None
    ) -> dict[str, float]:
        """Evaluates every example once: the mean loss and metrics.

        Args:
            data: batches.
            variables: those to evaluate, as ``best_variables``; the state's by default.

        Raises:
            EmptyDataError: there is no batch, or no state yet.
        """
        return evaluate(self._evaluate, self._eval_state(variables), data).result()

    def predict(
        self,
        data: Iterable[Any],
        function: Callable[[Forward, Any], Any],
        *,
        variables: Mapping[str, Any] | None = None,
    ) -> Any:
        """Runs ``function(net, batch)`` on all batches, joined: a tree of ``[examples, ...]``.

        Give the same function each time: it is compiled once.

        Args:
            data: batches.
            function: what to compute; ``net`` stands for the model as in the loss.
            variables: those to apply; the state's by default.

        Raises:
            EmptyDataError: there is no batch, or no state yet.
        """
        if function not in self._predictors:
            run = make_forward(self.model, function, self.eval_streams, self.precision)
            self._predictors[function] = jax.jit(run)
        return predict(self._predictors[function], self._eval_state(variables), data)

    def save(self, position: Position = Position()) -> None:
        """Saves the state, where the run stands in its data, its history, and the best so far."""
        if self.checkpoints is not None:
            about = {
                'seed': self.seed,
                'position': position.to_json(),
                'history': self.history,
                'watch': None if self.watch is None else self.watch.state(),
            }
            self.checkpoints.save(self._present_state(), about, best=self.best_variables)

    def restore(self, step: int | None = None, *, strict: bool = True) -> Position:
        """Takes the state from a checkpoint; the state that there is says what to expect.

        Args:
            step: which; the newest by default.
            strict: whether everything must fit; if not, the report says what was done.
        """
        if self.checkpoints is None:
            raise TrainOptionError(
                'there is no folder of checkpoints', mend="Trainer(..., checkpoints='out/run')"
            )
        saved = self.checkpoints.restore(self._present_state(), step, strict=strict)
        seed = saved.about.get('seed', self.seed)
        if strict and seed != self.seed:
            raise TrainOptionError(
                f'{self.checkpoints} holds a run of seed {seed}; this trainer has seed={self.seed}',
                why='all that it draws from here on comes from the seed',
                mend=f'Trainer(..., seed={seed}), or another folder for another run',
            )
        self.state, self.best_variables = saved.state, saved.best
        self.history = list(saved.about.get('history', []))
        if self.watch is not None and saved.about.get('watch'):
            self.watch.restore(saved.about['watch'])
        if saved.report:
            self.progress.say(str(saved.report))
        return Position.from_json(saved.about['position'])

    def dispatches(self, batches: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """Parts a group into what is dispatched at once: all of a full group, else one by one."""
        full = len(batches) == self.steps_per_call
        yield from [batches] if full else [(batch,) for batch in batches]

    def advance(self, batches: Sequence[Any]) -> Metrics:
        """Takes a step for each batch, in one dispatch; returns their metrics."""
        step, given = self._program(batches)
        self.state, metrics = step(self.state, given)
        return metrics

    def _program(self, batches: Sequence[Any]) -> tuple[Any, Any]:
        """The function that takes a step for each batch, and its argument beside the state."""
        return (self._one_step, batches[0]) if len(batches) == 1 else (self._some_steps, batches)

    def _write_report(self) -> None:
        if self.report is not None:
            self.report.save(self.history, self.state.variables)

    def keep_best(self) -> None:
        """Copies the variables of this moment, as the best so far."""
        self.best_variables = _copy(self.state.eval_variables)

    def _begin(self, feed: Feed, resume: bool, steps: int | None) -> Position:
        """Makes or restores the state of a run that is to begin, and compiles what it will need."""
        newest = None if self.checkpoints is None else self.checkpoints.latest()
        resume = newest is not None and resume
        if self.state is None and newest is not None and not resume:
            raise TrainOptionError(
                f'{self.checkpoints} holds the checkpoints of a run up to step {newest}',
                mend='fit(..., resume=True) to go on with it, or another folder',
            )
        if self.checkpoints is not None:
            self.checkpoints.prepare()
        most = _MOST_AHEAD if steps is None else min(steps, _MOST_AHEAD)
        if self.state is None and not resume and self.compile_ahead:
            self._init_while_compiling(feed, feed.first(), most)
            return Position()
        if self.state is None:
            self.init(feed.first())
        position = self.restore() if resume else Position()
        if self.compile_ahead:
            with Ahead() as ahead:
                self._compile(ahead, self.state, feed, position, most)
        return position

    def _init_while_compiling(self, feed: Feed, batch: Any, most: int) -> None:
        """Makes the state of step 0 while threads compile the step for states of its shape."""
        with Ahead() as ahead:
            state = jax.eval_shape(self._new_state, as_arrays(batch))
            self._compile(ahead, state, feed, Position(), most)
            self.init(batch)

    def _compile(self, ahead: Ahead, state: Any, feed: Feed, start: Position, most: int) -> None:
        """Begins to compile the step for each kind of group that the feed knows of."""
        for group in feed.ahead(start, most):
            for batches in self.dispatches(group.batches):
                kind = len(batches), group.kind
                if kind not in self._compiled:
                    self._compiled.add(kind)
                    step, given = self._program(batches)
                    ahead.add(step, state, given)

    def _new_state(self, batch: Any, variables: dict[str, Any] | None = None) -> RunState:
        """The state of step 0; a new one where no variables are given."""
        key = jax.random.key(self.seed)
        if variables is None:
            variables = init_variables(self.model, self.loss, batch, key, self.streams)
        return create_state(variables, self.optimizer, key, precision=self.precision, ema=self.ema)

    def _eval_state(self, variables: Mapping[str, Any] | None) -> Any:
        state = self._present_state()
        if variables is None:
            return state
        if state.params and 'params' not in variables:
            raise TrainOptionError(
                f'variables has the names {listing(variables)}, and not "params"',
                mend="variables={'params': params}",
            )
        collections = {name: value for name, value in variables.items() if name != 'params'}
        return state.replace(params=variables.get('params', {}), collections=collections, ema=None)

    def _present_state(self) -> Any:
        if self.state is None:
            raise EmptyDataError('the trainer has no state yet', mend='trainer.init(batch)')
        return self.state


def _count(data: Data, steps: int | None, epochs: int | None) -> int | None:
    """How many steps a run has, where that is known."""
    if steps is None and epochs is not None and isinstance(data, Sized):
        return epochs * len(data)
    return steps


@jax.jit
def _copy(tree: Any) -> Any:
    return jax.tree.map(jnp.copy, tree)


def _check_parts(model: Any, loss: Any, optimizer: Any) -> None:
    if not hasattr(model, 'apply') or isinstance(model, type):
        raise TrainOptionError(
            f'model is {described(model)}, no module', mend='Trainer(Net(), ...)'
        )
    if not callable(loss):
        raise TrainOptionError(
            f'loss is {described(loss)}, no function',
            mend="def loss(net, batch): return optax.l2_loss(net(batch['x']), batch['y'])",
        )
    if not (hasattr(optimizer, 'init') and hasattr(optimizer, 'update')):
        several = isinstance(optimizer, list | tuple)
        raise TrainOptionError(
            f'optimizer is {described(optimizer)}, no transformation of optax',
            mend='optax.chain(first, second), or optax.multi_transform for parts of the parameters'
            if several
            else 'optax.adam(1e-3)',
        )


def _check_plan(steps: Any, epochs: Any, valid: Any, valid_every: Any) -> None:
    for name, count, least in (
        ('steps', steps, 0),
        ('epochs', epochs, 0),
        ('valid_every', valid_every, 1),
    ):
        if count is not None and (not isinstance(count, Integral) or int(count) < least):
            raise TrainOptionError(f'{name}={count!r} is no count from {least}', mend=f'{name}=10')
    if valid is None and valid_every is not None:
        raise TrainOptionError(
            f'valid_every={valid_every}, and there is nothing to evaluate on',
            mend='fit(..., valid=batches)',
        )
    if isinstance(valid, Iterator) and (valid_every is not None or (epochs or 0) > 1):
        raise TrainOptionError(
            'valid can be gone through once, and there are several evaluations',
            mend='fit(..., valid=lambda: make_batches()), or a list',
        )


def _check_options(
    on_nan: str, steps_per_call: int, log_every: int, *streams: Sequence[str]
) -> None:
    if on_nan not in (known := ('raise', 'stop', 'ignore')):
        raise TrainOptionError(f'on_nan={on_nan!r} is none of {listing(known)}', mend="'raise'")
    for name, count in (('steps_per_call', steps_per_call), ('log_every', log_every)):
        if not isinstance(count, int) or count < 1:
            raise TrainOptionError(f'{name}={count!r} is no count from 1', mend=f'{name}=10')
    for names in streams:
        if isinstance(names, str) or 'params' in names:
            raise TrainOptionError(
                f'streams={names!r} is no tuple of streams beside params', mend="('dropout',)"
            )
