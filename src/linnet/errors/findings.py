"""What the sanitizer finds while a program runs (LN811 and on).

Randomness has the codes from LN811, state and gradients from LN821, modules and transforms from
LN841, compilation from LN851, numbers from LN861. :mod:`linnet.checks` reports them.
"""

from __future__ import annotations

from typing import ClassVar

from linnet.errors._base import SharpBitWarning


class Finding(SharpBitWarning):
    """Base of what the sanitizer finds: a program that runs, and probably means something else.

    Attributes:
        title: what is found, in a few words.
    """

    code: ClassVar[str] = 'LN810'
    title: ClassVar[str] = 'finding'


class RepeatedKeyFinding(Finding):
    """The same key is drawn from in two steps, so both see the same mask or noise.

    Wrong::

        for x in batches:
            state = step(state, x, key)

    Right::

        for i, x in enumerate(batches):
            state = step(state, x, jax.random.fold_in(key, i))

    Reason: a draw is a function of the key. Dropout with one key for all steps removes the same
    units for ever: it is a smaller network, and no regularisation.
    """

    code = 'LN811'
    title = 'the same key in two steps'


class SharedStreamKeyFinding(Finding):
    """Two streams hold the same key, and a module draws from both: the draws are equal.

    Wrong::

        model.init({'params': key, 'noise': key}, x)

    Right::

        params_key, noise_key = jax.random.split(key)
        model.init({'params': params_key, 'noise': noise_key}, x)

    Reason: a draw depends on the key, the path and the count, not on the name of the stream.
    """

    code = 'LN812'
    title = 'one key for two streams'


class SharedModelKeyFinding(Finding):
    """Two models are initialised with the same key, and parameters of both are equal numbers.

    Wrong::

        encoder_params, decoder_params = encoder.init(key, x), decoder.init(key, z)

    Right::

        key_e, key_d = jax.random.split(key)
        encoder_params, decoder_params = encoder.init(key_e, x), decoder.init(key_d, z)

    Reason: an initial value depends on the key and on the path in the model. Layers of the same
    name in two models then begin correlated, or equal.
    """

    code = 'LN813'
    title = 'one key for two models'


class SharedMaskFinding(Finding):
    """Examples, members or devices that run side by side draw the same mask.

    Wrong::

        jax.vmap(lambda x: model.apply(variables, x, rngs={'dropout': key}))(xs)

    Right::

        keys = jax.random.split(key, len(xs))
        jax.vmap(lambda x, k: model.apply(variables, x, rngs={'dropout': k}))(xs, keys)

    Reason: a mapped function draws once for each slice only where its key is mapped too. Under
    ``nn.vmap`` and ``nn.scan`` that is ``split_rngs={'dropout': True}``; on several devices,
    ``jax.random.fold_in(key, jax.lax.axis_index('batch'))``.
    """

    code = 'LN814'
    title = 'the same mask for all slices'


class UndrawnStreamFinding(Finding):
    """A key was given for a stream from which nothing is ever drawn.

    Wrong::

        model.apply(variables, x, rngs={'droput': key})

    Right::

        model.apply(variables, x, rngs={'dropout': key})

    Reason: modules draw from streams by name. A stream that none asks for has no effect.
    """

    code = 'LN815'
    title = 'a stream given and never drawn'


class CollidingDrawsFinding(Finding):
    """Two places in one step draw with the same key.

    Wrong::

        a = nn.Dropout(0.1)(a, rng=key)
        b = nn.Dropout(0.1)(b, rng=key)

    Right::

        a = nn.Dropout(0.1)(a)
        b = nn.Dropout(0.1)(b)

    Reason: a module that draws from a stream gets a key of its own; a key that is handed on by
    hand, or used again with another input, gives the same numbers again.
    """

    code = 'LN816'
    title = 'two places draw one key'


class DroppedUpdatesFinding(Finding):
    """State was updated in every training step, and every step began with the old state.

    Wrong::

        y, _ = model.apply(variables, x, train=True, mutable=['batch_stats'])

    Right::

        y, updates = model.apply(variables, x, train=True, mutable=['batch_stats'])
        variables = {**variables, **updates}

    Reason: ``apply`` returns new state and keeps none. What is not handed to the next step is
    lost, and evaluation uses statistics that were never updated.
    """

    code = 'LN821'
    title = 'updates computed and dropped'


class FrozenStatisticsFinding(Finding):
    """A model was trained with running statistics that stand at their initial values throughout.

    Wrong::

        nn.BatchNorm(use_running_average=True)(x)                # in training

    Right::

        nn.BatchNorm(use_running_average=not train)(x)

    Reason: a layer that uses the running average does not update it. Mean 0 and variance 1
    normalise nothing.
    """

    code = 'LN822'
    title = 'statistics that never change in training'


class EvaluationStateFinding(Finding):
    """State changed in a call that no gradient was taken of, and training went on with it.

    Wrong::

        y, updates = model.apply(variables, x_test, train=True, mutable=['batch_stats'])
        variables = {**variables, **updates}

    Right::

        y = model.apply(variables, x_test, train=False)

    Reason: evaluation must not leave traces in the model: statistics of the test data are then
    part of it.
    """

    code = 'LN823'
    title = 'statistics that change in evaluation'


class InitialStatisticsFinding(Finding):
    """After training, a model is evaluated with running statistics at their initial values.

    Wrong::

        y, _ = model.apply(variables, x, train=True, mutable=['batch_stats'])
        model.apply(variables, x_test, train=False)

    Right::

        y, updates = model.apply(variables, x, train=True, mutable=['batch_stats'])
        model.apply({**variables, **updates}, x_test, train=False)

    Reason: mean 0 and variance 1 are where the averages begin. Training normalised by statistics
    of its batches, so evaluation sees another network.
    """

    code = 'LN824'
    title = 'evaluation with initial statistics'


class UnreadCollectionFinding(Finding):
    """A collection is passed to a model, and no module ever reads anything in it.

    Wrong::

        model.apply({'params': params, 'batch_stat': stats}, x)

    Right::

        model.apply({'params': params, 'batch_stats': stats}, x)

    Reason: a module looks for its variables by the name of the collection. Others are ignored.
    """

    code = 'LN825'
    title = 'a collection passed and never read'


class UnusedParameterFinding(Finding):
    """No output depends on a parameter that a gradient was asked for: it is never trained.

    Wrong::

        h = nn.Dense(8)(x)
        return nn.Dense(1)(x)                      # h was meant

    Right::

        h = nn.Dense(8)(x)
        return nn.Dense(1)(h)

    Reason: what does not reach the loss gets no gradient. The optimiser leaves it where it began,
    and weight decay shrinks it.
    """

    code = 'LN826'
    title = 'a parameter that no output depends on'


class ZeroGradientFinding(Finding):
    """The gradient of a parameter is exactly zero in every step.

    Wrong::

        x = nn.relu(nn.Dense(8, bias_init=nn.initializers.constant(-100.0))(x))

    Right::

        x = nn.relu(nn.Dense(8)(x))

    Reason: units that never fire, a saturated activation, ``stop_gradient`` or a rounded value
    let nothing through: what lies before them does not learn.
    """

    code = 'LN827'
    title = 'a gradient that is exactly zero'


class NonfiniteGradientFinding(Finding):
    """A gradient holds NaN or infinity.

    Wrong::

        jnp.where(x > 0, jnp.sqrt(x), 0.0)

    Right::

        jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0)

    Reason: one such step makes the parameters NaN for good. Both branches of ``where`` are
    differentiated, and zero times infinity is NaN.
    """

    code = 'LN828'
    title = 'a gradient that is not finite'
