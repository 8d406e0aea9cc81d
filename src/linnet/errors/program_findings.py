"""What the sanitizer finds in modules, transforms, compilation and numbers (LN841 and on).

The first of them, and the words, are in :mod:`linnet.errors.findings`.
"""

from __future__ import annotations

from linnet.errors.findings import Finding


class MadeInApplyFinding(Finding):
    """A parameter that was not passed was made in ``apply``, from a key, in a trained model.

    Wrong::

        model.apply({'params': params}, x, mutable=True, rngs={'params': key})

    Right::

        model.apply({'params': params}, x, mutable=['batch_stats'])

    Reason: with ``params`` mutable, a parameter that is missing is no error: it is initialised,
    at random, in each call.
    """

    code = 'LN841'
    title = 'a parameter made in apply'


class EqualParametersFinding(Finding):
    """Two parameters of a model are one array.

    Wrong::

        params['decoder'] = params['encoder']

    Right::

        use one module in both places

    Reason: parameters that are equal at the start are not tied: each has its own gradient, and
    they part with the first step.
    """

    code = 'LN842'
    title = 'one array for two parameters'


class LeakedTracerFinding(Finding):
    """A value of a function that JAX traced is still held after the trace has ended.

    Wrong::

        @jax.jit
        def step(x):
            history.append(model.apply(variables, x))

    Right::

        @jax.jit
        def step(x):
            return model.apply(variables, x)

    Reason: in a traced function values are placeholders, which mean nothing outside. Return what
    is wanted, or ``sow`` it.
    """

    code = 'LN843'
    title = 'a leaked tracer'


class DonatedArrayFinding(Finding):
    """An array is read after a step that was given its memory to reuse.

    Wrong::

        step = jax.jit(update, donate_argnums=0)
        new = step(state)
        print(state.params)

    Right::

        step = jax.jit(update, donate_argnums=0)
        state = step(state)
        print(state.params)

    Reason: a donated argument is gone when the step begins. What it returns takes its place.
    """

    code = 'LN845'
    title = 'a donated array that is read'


class ReturnedPairFinding(Finding):
    """What ``apply`` returned with ``mutable`` is a pair, and is used as the output.

    Wrong::

        y = model.apply(variables, x, mutable=['batch_stats'])
        loss = (y - 1.0).mean()

    Right::

        y, updates = model.apply(variables, x, mutable=['batch_stats'])
        loss = (y - 1.0).mean()

    Reason: with ``mutable`` given, even empty, ``apply`` returns the output and the variables.
    """

    code = 'LN846'
    title = 'a pair of apply, used as the output'


class StaleParametersFinding(Finding):
    """A compiled function closes over parameters, and still uses the old ones.

    Wrong::

        predict = jax.jit(lambda x: model.apply(params, x))
        params = train(params)
        predict(x)

    Right::

        predict = jax.jit(model.apply)
        predict(params, x)

    Reason: what a jitted function closes over is a constant of the compiled program. It is not
    looked up again.
    """

    code = 'LN844'
    title = 'parameters that are constants of a compiled function'


class ManyShapesFinding(Finding):
    """One line compiles a model for ever new shapes or dtypes of an argument.

    Wrong::

        for batch in batches:                      # each of another length
            step(state, batch)

    Right::

        for batch in batches:
            step(state, pad(batch, to=64))

    Reason: a compiled program is for one set of shapes, dtypes and static values.
    """

    code = 'LN851'
    title = 'compilations for new shapes'


class RepeatedCompilationFinding(Finding):
    """One line compiles a model again and again for the same shapes and dtypes.

    Wrong::

        for batch in batches:
            jax.jit(lambda p, x: model.apply(p, x))(params, batch)

    Right::

        step = jax.jit(lambda p, x: model.apply(p, x))
        for batch in batches:
            step(params, batch)

    Reason: ``jax.jit`` knows a function again by identity, and static arguments by equality. A
    new function, or a static value that changes or has no ``__eq__``, is a new program.
    """

    code = 'LN852'
    title = 'compilations of what was compiled'


class NonfiniteOutputFinding(Finding):
    """The output of a module holds NaN or infinity; no module before it did.

    Wrong::

        return jnp.log(probabilities)

    Right::

        return nn.log_softmax(logits)

    Reason: NaN spreads to all that is computed from it. The module named is the first in the
    order of the computation.
    """

    code = 'LN861'
    title = 'an output that is not finite'


class OverflowFinding(Finding):
    """A layer that computes in half precision gave infinity.

    Wrong::

        nn.Dense(4096, dtype=jnp.float16)(1000 * x)

    Right::

        nn.Dense(4096, dtype=jnp.bfloat16)(nn.LayerNorm()(x))

    Reason: the largest float16 is 65504. bfloat16 has the range of float32.
    """

    code = 'LN862'
    title = 'overflow in half precision'


class UnderflowFinding(Finding):
    """Much of an output, or of a gradient, in half precision is below the smallest normal number.

    Wrong::

        jax.grad(lambda p: loss(p))(float16_params)

    Right::

        jax.grad(lambda p: 1024 * loss(p))(float16_params)       # and divide by 1024

    Reason: below 6e-5 a float16 loses digits, and below 6e-8 it is zero. Scale the loss, or use
    bfloat16.
    """

    code = 'LN863'
    title = 'underflow in half precision'


class MaskedRowFinding(Finding):
    """A row of an attention mask or bias forbids everything.

    Wrong::

        bias = jnp.where(mask, 0.0, -jnp.inf)

    Right::

        bias = jnp.where(mask, 0.0, jnp.finfo(x.dtype).min)

    Reason: a softmax over nothing is undefined. With -inf it is NaN, also in every gradient; with
    a large negative number it attends to everything alike.
    """

    code = 'LN864'
    title = 'a fully masked row of attention'


class IdRangeFinding(Finding):
    """Token ids lie outside of the embedding's range.

    Wrong::

        nn.Embed(num_embeddings=5, features=2)(jnp.array([5]))

    Right::

        nn.Embed(num_embeddings=6, features=2)(jnp.array([5]))

    Reason: compiled code cannot raise. An id past the end gives NaN, a negative one counts from
    the end.
    """

    code = 'LN865'
    title = "ids out of the embedding's range"


class UpcastFinding(Finding):
    """A layer without ``dtype`` turned half precision into float32, and all that follows.

    Wrong::

        nn.LayerNorm()(x.astype(jnp.bfloat16))

    Right::

        nn.LayerNorm(dtype=jnp.bfloat16)(x)

    Reason: parameters are float32, and without ``dtype`` a layer computes in the widest of its
    inputs and parameters.
    """

    code = 'LN866'
    title = 'a silent upcast to float32'


class AdditiveMaskFinding(Finding):
    """A mask of attention holds large negative numbers: it is read as booleans, inverted.

    Wrong::

        nn.dot_product_attention(q, k, v, mask=jnp.where(keep, 0.0, -1e9))

    Right::

        nn.dot_product_attention(q, k, v, mask=keep)

    Reason: in a mask, nonzero means 'attend'. Numbers to be added to the scores are a ``bias``.
    """

    code = 'LN867'
    title = 'an additive mask given as a mask'
