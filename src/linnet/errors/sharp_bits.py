"""Warnings about programs that run, and probably do not do what was meant.

They are given while a program is traced, and cost nothing after that. Their codes are in the
hundred of their subject, from 51 on: LN151 is about randomness, LN251 about variables.
:mod:`linnet.sharp_bits` decides what becomes of them.
"""

from __future__ import annotations

from linnet.errors._base import SharpBitWarning


class StreamFallbackWarning(SharpBitWarning):
    """A random stream was not given, drew from 'params', and one of a similar name was not used.

    Wrong::

        model.apply(variables, x, rngs={'params': key, 'dropuot': other_key})

    Right::

        model.apply(variables, x, rngs={'params': key, 'dropout': other_key})

    Reason: a stream that has no key falls back to 'params', so a misspelt name is no error; the
    key that was meant for dropout is never used, and dropout repeats with the key of 'params'.
    """

    code = 'LN151'


class EqualMembersWarning(SharpBitWarning):
    """A transform makes parameters for each slice, and gives all slices one key: they are equal.

    Wrong::

        nn.vmap(nn.Dense, variable_axes={'params': 0}, split_rngs={'params': False})

    Right::

        nn.vmap(nn.Dense, variable_axes={'params': 0}, split_rngs={'params': True})

    Reason: initial values follow from the key. Members of an ensemble that start equal and see
    the same data stay equal; layers of a scanned stack start as copies of each other.
    """

    code = 'LN152'


class PathCollisionWarning(SharpBitWarning):
    """Two modules draw the same numbers, since their paths read alike without separators.

    Wrong::

        Block(name='ab')        # holds nn.Dense(4, name='cdef')
        Block(name='abc')       # holds nn.Dense(4, name='def')

    Right::

        linnet.config.update('flax_fix_rng_separator', True)

    Reason: a key is folded with the names of the path, joined without a separator, so that
    'ab' + 'cdef' and 'abc' + 'def' are one. That is kept since other keys would be other weights;
    rename one of them, or set the flag in new programs.
    """

    code = 'LN153'


class UnreadParametersWarning(SharpBitWarning):
    """Parameters were passed that no module reads, and that no init of this model has made.

    Wrong::

        model.apply({'params': {**params, 'Dense_0_lora': adapter}}, x)

    Right::

        model.apply({'params': params}, x)

    Reason: a module reads what lies under its own name and nothing else. Parameters of another
    model, or under a name that changed, are ignored without a sign.
    """

    code = 'LN251'


class OptimizedStateWarning(SharpBitWarning):
    """The optimiser was given collections beside the parameters, and would change them.

    Wrong::

        TrainState.create(apply_fn=model.apply, params=variables, tx=tx)

    Right::

        TrainState.create(apply_fn=model.apply, params=variables['params'], tx=tx)

    Reason: running statistics have no gradient of use. Weight decay and momentum would change them
    all the same, and their new values, which ``apply`` returns, would be lost.
    """

    code = 'LN257'


class UnknownCollectionWarning(SharpBitWarning):
    """``mutable`` names a collection that does not exist, and one of a similar name does.

    Wrong::

        y, state = model.apply(variables, x, mutable=['intermediate'])

    Right::

        y, state = model.apply(variables, x, mutable=['intermediates'])

    Reason: values are sown only into collections that are mutable; a name that nothing uses
    is no error, and what was asked for is missing from the result.
    """

    code = 'LN252'


class StateRestartedWarning(SharpBitWarning):
    """State was not passed to ``apply``, so it was made anew, changed, and begins anew next time.

    Wrong::

        y, state = model.apply({'params': params}, x, mutable=['batch_stats'])

    Right::

        y, state = model.apply({'params': params, **state}, x, mutable=['batch_stats'])

    Reason: ``apply`` keeps nothing from call to call. A running average that is not handed to the
    next step starts from its initial value at every step.
    """

    code = 'LN253'


class SownAgainWarning(SharpBitWarning):
    """Sown values of an earlier call were passed in, and this call appended to them.

    Wrong::

        variables = {**variables, **model.apply(variables, x, mutable=['intermediates'])[1]}

    Right::

        y, sown = model.apply({'params': params}, x, mutable=['intermediates'])

    Reason: ``sow`` appends to the tuple that is there. Passed back in, it grows by one entry per
    step, and a compiled step is compiled again for each new length.
    """

    code = 'LN254'


class StatisticsShapeWarning(SharpBitWarning):
    """Running statistics have another shape than the input needs, and broadcast to it.

    Wrong::

        nn.BatchNorm(True).apply({'batch_stats': {'mean': jnp.zeros(1), 'var': jnp.ones(1)}}, x)

    Right::

        nn.BatchNorm(True).apply({'batch_stats': {'mean': jnp.zeros(3), 'var': jnp.ones(3)}}, x)

    Reason: parameters are compared with the shape that they need, other variables are not; one
    statistic is then used for several features.
    """

    code = 'LN255'


class SharedWriteWarning(SharpBitWarning):
    """A variable that all iterations of a loop share is changed in the loop.

    Wrong::

        nn.scan(Step, variable_broadcast='state', length=3)       # a Step counts in 'state'

    Right::

        nn.scan(Step, variable_carry='state', length=3)

    Reason: a broadcast variable is the same in every iteration. What an iteration writes is
    computed once, before the loop, and not handed from one iteration to the next.
    """

    code = 'LN256'


class SharedNameWarning(SharpBitWarning):
    """Two lines of a program make a submodule, and both get one automatic name and its parameters.

    Wrong::

        if mode == 'encode':
            return nn.tanh(nn.Dense(4)(x))
        return nn.Dense(4)(x)

    Right::

        if mode == 'encode':
            return nn.tanh(nn.Dense(4, name='encoder')(x))
        return nn.Dense(4, name='decoder')(x)

    Reason: automatic names are counted anew in each call of a compact method, so the first Dense
    of each branch is Dense_0. Called twice in one ``apply``, they are one layer.
    """

    code = 'LN351'


class SharedDefaultWarning(SharpBitWarning):
    """The default of a field is a module, which all instances of the class share.

    Wrong::

        class Block(nn.Module):
            layer: nn.Module = nn.Dense(4)

    Right::

        class Block(nn.Module):
            layer: nn.Module | None = None       # and in setup: self.layer or nn.Dense(4)

    Reason: a default is evaluated once, when the class is made. Every instance that is not given
    another holds the same module, and so the same parameters.
    """

    code = 'LN352'


class SameInstanceWarning(SharpBitWarning):
    """One module stands in two places that are meant to have parameters of their own.

    Wrong::

        nn.Sequential([nn.Dense(4)] * 3)
        nn.Bidirectional(rnn, rnn)

    Right::

        nn.Sequential([nn.Dense(4) for _ in range(3)])
        nn.Bidirectional(nn.RNN(cell), nn.RNN(cell.clone()))

    Reason: a module that is used twice is shared: both places read one set of parameters.
    """

    code = 'LN353'


class UncalledModuleWarning(SharpBitWarning):
    """``__call__`` returned a submodule in place of what calling it gives.

    Wrong::

        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)

    Right::

        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(x)

    Reason: making a layer and calling it are two steps. A layer that is never called makes no
    parameters, and ``init`` succeeds without them.
    """

    code = 'LN354'


class ClosedOverWarning(SharpBitWarning):
    """A function under a lifted transform closes over a module, which is then not lifted.

    Wrong::

        nn.vmap(lambda module, x: dense(x), variable_axes={'params': 0})(self, x)

    Right::

        nn.vmap(lambda dense, x: dense(x), variable_axes={'params': 0})(dense, x)

    Reason: a transform lifts the modules that are passed to it. ``variable_axes`` and
    ``split_rngs`` say nothing about one that the function finds around it.
    """

    code = 'LN451'


class IgnoredKeywordsWarning(SharpBitWarning):
    """Keyword arguments were given to a function that maps over its arguments; they are left out.

    Wrong::

        nn.vmap(Net, in_axes=0)()(x, scale=2.0)

    Right::

        nn.vmap(Net, in_axes=(0, None))()(x, 2.0)

    Reason: axes are given by position, so a keyword has none.
    """

    code = 'LN452'


class ManyShapesWarning(SharpBitWarning):
    """One line of a program compiles a model again and again, for ever new shapes.

    Wrong::

        for batch in batches:                   # each of another size
            jax.jit(model.apply)(variables, batch)

    Right::

        for batch in batches:
            jax.jit(model.apply)(variables, pad(batch, to=64))[: len(batch)]

    Reason: a compiled program is for one set of shapes. Pad to a few sizes, and cut the result.
    """

    code = 'LN453'


class SingleElementWarning(SharpBitWarning):
    """A mean and variance are taken over one element, so that all are normalised to zero.

    Wrong::

        jax.vmap(lambda x: model.apply(variables, x, mutable=['batch_stats']))(xs)

    Right::

        nn.BatchNorm(use_running_average=False, axis_name='batch')
        jax.vmap(lambda x: model.apply(variables, x), axis_name='batch')(xs)

    Reason: an element minus the mean of itself is zero, whatever it is. Under ``vmap`` a layer
    sees one example, unless it is told the name of the mapped axis.
    """

    code = 'LN551'


class AttentionMaskWarning(SharpBitWarning):
    """A mask or bias of attention probably means something else than it was made for.

    Wrong::

        nn.dot_product_attention(q, k, v, mask=jnp.where(keep, 0.0, -1e9))

    Right::

        nn.dot_product_attention(q, k, v, mask=keep)
        nn.dot_product_attention(q, k, v, bias=jnp.where(keep, 0.0, -1e9))

    Reason: in a mask nonzero means 'attend'; what is added to the scores is the bias. A row of
    -inf throughout has no softmax, and gives NaN.
    """

    code = 'LN552'


class DecodeCacheWarning(SharpBitWarning):
    """Decoding writes to a cache that is full, or several positions where it moves on by one.

    Wrong::

        for token in tokens:                    # more of them than the cache has positions
            y, state = model.apply({**variables, **state}, token, mutable=['cache'])

    Right::

        variables = model.init(key, jnp.ones((batch, longest, features)))

    Reason: the cache has as many positions as the input of ``init``, and a call takes one.
    """

    code = 'LN553'


class UnusedOptionWarning(SharpBitWarning):
    """An option was given that changes nothing here.

    Wrong::

        nn.MultiHeadDotProductAttention(4, attention_fn=lambda q, k, v: v, dropout_rate=0.1)

    Right::

        nn.MultiHeadDotProductAttention(4, attention_fn=nn.dot_product_attention, dropout_rate=0.1)

    Reason: what a layer does not hand on, or a function does not take, has no effect.
    """

    code = 'LN554'


class WidthWarning(SharpBitWarning):
    """Sizes that should agree do not, and broadcasting hides it.

    Wrong::

        nn.SimpleCell(features=4)(carry_of_width_5, x)

    Right::

        nn.SimpleCell(features=4)(carry_of_width_4, x)

    Reason: arrays of different sizes combine where one of them broadcasts, or where only the
    order of axes differs; the numbers are then those of another model.
    """

    code = 'LN555'


class LeftOutWarning(SharpBitWarning):
    """Values were given that nothing takes, and were left out.

    Wrong::

        serialization.from_state_dict(state, {**saved, 'lora': adapter})

    Right::

        serialization.from_state_dict(state, saved)

    Reason: a target takes the entries that it has, and a function the names that it finds.
    """

    code = 'LN651'


class PartialRestoreWarning(SharpBitWarning):
    """A checkpoint does not have all that the target has, or has it in another shape.

    Wrong::

        restore_checkpoint(folder, {'params': params, 'ema': params})  # saved without 'ema'

    Right::

        saved = restore_checkpoint(folder, {'params': params})
        state = {**saved, 'ema': saved['params']}

    Reason: what is missing keeps the values of the target, which are often fresh random ones; an
    array of another shape comes as it was saved.
    """

    code = 'LN652'


class MissingFolderWarning(SharpBitWarning):
    """A checkpoint was to be restored from a folder that does not exist.

    Wrong::

        state = restore_checkpoint('chekpoints', state)

    Right::

        state = restore_checkpoint('checkpoints', state)

    Reason: without a checkpoint the target is returned as it is, so that a first run can begin. A
    path that is misspelt looks the same, and training starts from scratch.
    """

    code = 'LN653'
