"""Errors about training: data, losses, options and checkpoints of a run (LN9xx)."""

from __future__ import annotations

from linnet.errors._base import LinnetError


class EmptyDataError(LinnetError, ValueError):
    """There is no batch to train on, to evaluate or to predict.

    Wrong::

        trainer.fit((batch for batch in batches), epochs=3)

    Right::

        trainer.fit(lambda epoch: make_batches(epoch), epochs=3)

    Reason: a generator can be gone through once. A list, a loader, or a function from the number
    of the epoch to an iterable gives batches as often as there are epochs.
    """

    code = 'LN901'


class LossError(LinnetError, ValueError, TypeError):
    """The loss function returned something that cannot be averaged over examples.

    Wrong::

        def loss(net, batch):
            return optax.l2_loss(net(batch['x']), batch['y'])         # [batch, features]

    Right::

        def loss(net, batch):
            return optax.l2_loss(net(batch['x']), batch['y']).sum(-1)  # [batch]

    Reason: a loss, and each metric, is one number for each example, one for the batch, or a
    ``Mean`` of values and weights.
    """

    code = 'LN902'


class BatchError(LinnetError, ValueError):
    """A batch is not of the form that the batches before had, or its arrays do not agree.

    Wrong::

        trainer.fit([{'x': x, 'y': y}, {'x': x}])

    Right::

        trainer.fit([{'x': x, 'y': y}, {'x': x, 'y': y}])

    Reason: the step is compiled for one form. Sizes of axes may change, at the price of another
    compilation; names, dtypes and the number of axes may not. The first axis is that of examples.
    """

    code = 'LN903'


class StreamError(LinnetError, ValueError):
    """The model draws from a random stream for which the trainer derives no key.

    Wrong::

        Trainer(model, loss, optimizer)                    # the model draws from 'noise'

    Right::

        Trainer(model, loss, optimizer, streams=('dropout', 'noise'))

    Reason: in training keys are derived for ``streams``; in evaluation, where most models draw
    nothing, for ``eval_streams``.
    """

    code = 'LN904'


class NonFiniteLossError(LinnetError, ArithmeticError):
    """The loss of a step is infinite or not a number.

    Wrong::

        Trainer(model, loss, optax.sgd(10.0))

    Right::

        Trainer(model, loss, optax.sgd(0.1), clip=1.0)

    Reason: all later steps would be lost. The run stops before such a state is saved, so the last
    checkpoint is from before. ``on_nan='stop'`` ends the run with a line, ``'ignore'`` goes on.
    """

    code = 'LN905'


class TrainOptionError(LinnetError, ValueError):
    """An option of training has a value that it does not know, or that contradicts another.

    Wrong::

        Trainer(model, loss, optimizer, precision='fp16')

    Right::

        Trainer(model, loss, optimizer, precision='float16')

    Reason: the values that an option takes stand in the docstring of the class.
    """

    code = 'LN906'


class CheckpointMismatchError(LinnetError, ValueError):
    """A checkpoint holds other arrays than the state that it is to be restored into.

    Wrong::

        Checkpoints('out/wide').restore(narrow_state)

    Right::

        saved, report = Checkpoints('out/wide').restore(narrow_state, strict=False)

    Reason: a state that is half from a file and half new is hardly ever meant. The message lists
    by path what is missing, extra, or of another shape or dtype.
    """

    code = 'LN907'


class CheckpointDamagedError(LinnetError, ValueError):
    """A checkpoint cannot be read, or its bytes are not those that were written.

    Wrong::

        Checkpoints('out/run').restore(state)              # the disk lost a block of step 300

    Right::

        Checkpoints('out/run').restore(state, step=200)

    Reason: each array is saved with a checksum and nothing is taken from a file that fails. The
    steps before are whole.
    """

    code = 'LN908'


class CheckpointWriteError(LinnetError, OSError):
    """A checkpoint could not be written: the disk is full, or the folder may not be written to.

    Wrong::

        Trainer(model, loss, optimizer, checkpoints='/read/only')

    Right::

        Trainer(model, loss, optimizer, checkpoints='out/run')

    Reason: a step gets its name when all of it is on the disk, so those before are whole. What was
    half written is not read, and is removed when the folder is next opened.
    """

    code = 'LN909'
