"""The sanitizer itself: it changes nothing, costs nothing when off, and reports what it found."""

from __future__ import annotations

import json
import re
import threading
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet
import linnet.linen as nn
from linnet.checks import gradients, process, sanitize
from linnet.errors import Finding, RepeatedKeyFinding, SharpBitWarning, codes

KEY = jax.random.key(0)
X = np.arange(12, dtype=np.float32).reshape(4, 3)


class Net(nn.Module):
    """Something of everything: state, dropout, a loop, rematerialisation."""

    @nn.compact
    def __call__(self, x, train):
        x = nn.remat(nn.Dense)(4, name='in')(x)
        x = nn.BatchNorm(use_running_average=not train)(x)
        x = nn.Dropout(0.5, deterministic=not train)(x)
        layers = nn.scan(Layer, variable_axes={'params': 0}, split_rngs={'params': True}, length=2)(
            name='layers'
        )
        x, _ = layers(x[None], None)
        return nn.Dense(2, name='out')(x[0])


class Layer(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return nn.Dense(4)(x), None


NET = Net()
VARIABLES = NET.init(KEY, X, train=False)


def loss(params, x, key):
    y, updates = NET.apply(
        {**VARIABLES, 'params': params},
        x,
        train=True,
        rngs={'dropout': key},
        mutable=['batch_stats'],
    )
    return (y**2).sum(), (y, updates)


def new_step():
    return jax.jit(lambda params, x, key: jax.grad(loss, has_aux=True)(params, x, key))


def repeat_a_key(times=2):
    net = nn.Dropout(0.5, deterministic=False)
    for i in range(times):
        net.apply({}, jnp.full(4, i, jnp.float32), rngs={'dropout': KEY})


def test_results_are_the_same_bits_in_the_same_order():
    args = VARIABLES['params'], X, KEY
    plain = new_step()(*args)
    with sanitize(show=False) as report:
        made = NET.init(KEY, X, train=False)
        applied = NET.apply(VARIABLES, X, train=False)
        watched = new_step()(*args)
    assert report.codes == []
    jax.tree.map(np.testing.assert_array_equal, plain, watched)
    jax.tree.map(np.testing.assert_array_equal, VARIABLES, made)
    np.testing.assert_array_equal(applied, NET.apply(VARIABLES, X, train=False))
    assert json.dumps(jax.tree.map(jnp.shape, made)) == json.dumps(
        jax.tree.map(jnp.shape, VARIABLES)
    )


def test_the_compiled_program_is_the_same_when_off():
    args = VARIABLES['params'], X, KEY
    before = new_step().lower(*args).as_text()
    step = new_step()
    with sanitize(show=False):
        inside = step.lower(*args).as_text()
    assert step.lower(*args).as_text() == before
    assert 'callback' in inside
    assert 'callback' not in before


def test_programs_traced_outside_and_inside_are_not_mixed():
    traces = []

    def run(x, key):
        traces.append(1)
        return nn.Dropout(0.5, deterministic=False).apply({}, x, rngs={'dropout': key})

    run = jax.jit(run)
    run(X, KEY)
    with sanitize(show=False) as report:
        run(X, KEY)
        run(X + 1, KEY)
    assert report.codes == ['LN811']
    run(X, KEY)
    assert len(traces) == 2
    with sanitize(show=False) as second:
        run(X, KEY)
        run(X + 1, KEY)
    assert second.codes == ['LN811']
    assert report.findings[0].count == 1


def test_a_finding_has_all_that_is_known():
    with sanitize(show=False) as report:
        repeat_a_key(3)
    (found,) = report.findings
    assert isinstance(found.finding, RepeatedKeyFinding)
    assert (found.code, found.count, found.line[0]) == ('LN811', 2, __file__)
    assert found.place == f'{__file__}:{found.line[1]}'
    assert str(found).startswith(f'{found.place}: [LN811] /: ')
    assert str(found).endswith('(2 times)')
    (row,) = json.loads(report.to_json())
    assert row == found.as_dict()
    assert row['title'] == 'the same key in two steps'
    assert len(report) == 1
    text = report.table(width=100)
    assert all(
        word in text for word in ('LN811', '│     2 │', 'fold_in(key, step)', 'found 1 thing')
    )


def test_a_line_can_allow_a_code():
    net = nn.Dropout(0.5, deterministic=False)
    with sanitize(show=False) as report:
        for i in range(2):
            net.apply({}, X + i, rngs={'dropout': KEY})  # linnet: allow LN999, LN811
    assert not report
    assert report.table() == 'The sanitizer found nothing.\n'


def test_it_prints_when_the_block_ends(capsys):
    with linnet.sanitize():
        repeat_a_key()
    assert 'LN811' in capsys.readouterr().err
    with linnet.sanitize():
        repeat_a_key(1)
    assert capsys.readouterr().err == ''


def test_findings_can_be_warnings():
    with pytest.warns(RepeatedKeyFinding, match='LN811') as caught, sanitize(warn=True, show=False):
        repeat_a_key()
    assert caught[0].filename == __file__


def test_what_is_said_at_once_is_reported_too():
    with warnings.catch_warnings(record=True) as caught, sanitize(warn=True, show=False) as report:
        warnings.simplefilter('always')
        params = nn.Dense(2).init(KEY, X)['params']
        nn.Dense(2).apply({'params': {**params, 'lora': X}}, X)
    assert report.codes == ['LN251']
    assert [w.category.code for w in caught if issubclass(w.category, SharpBitWarning)] == ['LN251']
    assert report.findings[0].as_dict()['title']


def test_an_error_ends_the_block_and_what_was_found_remains():
    def fail():
        repeat_a_key()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), sanitize(show=False) as report:
        fail()
    assert report.codes == ['LN811']
    repeat_a_key()
    assert report.findings[0].count == 1


def test_an_error_in_a_module_leaves_no_trace():
    class Fails(nn.Module):
        @nn.compact
        def __call__(self, x):
            nn.Dense(2)(x)
            raise ZeroDivisionError

    with sanitize(show=False) as report:
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                jax.jit(Fails().init)(KEY, X)
        repeat_a_key()
    assert report.codes == ['LN811']


def test_blocks_nest_and_the_inner_one_watches():
    with sanitize(show=False) as outer:
        with sanitize(show=False) as inner:
            repeat_a_key()
        repeat_a_key(1)
    assert (outer.codes, inner.codes) == ([], ['LN811'])


def test_another_thread_is_not_watched():
    with sanitize(show=False) as report:
        thread = threading.Thread(target=repeat_a_key)
        thread.start()
        thread.join()
    assert report.codes == []


def test_bound_modules_are_watched():
    net = nn.Dropout(0.5, deterministic=False)
    with sanitize(show=False) as report:
        for i in range(2):
            net.bind({}, rngs={'dropout': KEY})(X + i)
    assert report.codes == ['LN811']


def test_a_program_outlives_the_watcher():
    with sanitize(show=False) as report:
        step = jax.jit(lambda x: nn.Dropout(0.5, deterministic=False).apply({}, x, rngs=rngs))
        rngs = {'dropout': KEY}
        compiled = step.lower(X).compile()
    compiled(X)
    compiled(X + 1)
    jax.effects_barrier()
    assert not report


def test_parameters_that_are_no_plain_dicts():
    net = nn.Dense(2, kernel_init=nn.with_partitioning(nn.initializers.ones, ('in', 'out')))
    with sanitize(show=False) as report:
        variables = linnet.core.freeze(net.init(KEY, X))
        grads = jax.jit(jax.grad(lambda v: net.apply(v, X).sum()))(variables)
    assert jax.tree.structure(grads) == jax.tree.structure(variables)
    assert not report


def test_gradients_says_what_is_wrong_in_a_tree():
    grads = {
        'a': {'zero': jnp.zeros(2), 'nan': jnp.array([1.0, np.nan]), 'good': jnp.ones(2)},
        'b': jnp.array(np.inf, jnp.float16),
        'count': jnp.zeros((), int),
    }
    assert gradients(grads) == {'a/zero': 'zero', 'a/nan': 'not finite', 'b': 'not finite'}


def test_the_page_tells_the_truth():
    page = (Path(__file__).parents[2] / 'docs' / 'sanitizer.md').read_text()
    namespace = {}
    exec(re.search(r'```python\n(.*?)```', page, re.DOTALL)[1], namespace)
    listed = re.findall(r'^\| (LN\d+) \|', page, re.MULTILINE)
    assert listed == [code for code in codes() if issubclass(codes()[code], Finding)][1:]


def test_a_process_is_watched_to_its_end(monkeypatch, capsys):
    ends = []
    monkeypatch.setattr(process.atexit, 'register', lambda *call: ends.append(call))
    report = process.start()
    with pytest.warns(RepeatedKeyFinding):
        repeat_a_key()
    ((end, watcher),) = ends
    end(watcher)
    assert report.codes == ['LN811']
    assert 'LN811' in capsys.readouterr().err


def test_what_is_empty_or_no_array_is_passed_by():
    class Odd(nn.Module):
        @nn.compact
        def __call__(self, x, name):
            self.param('table', lambda key: {'a': jnp.ones(2), 'n': jnp.arange(2)})
            return {'empty': x[:0], 'name': name, 'ids': nn.Embed(3, 2)(jnp.zeros(0, int))}

    with sanitize(show=False) as report:
        variables = Odd().init(KEY, X, 'x')
        Odd().apply(variables, X, 'x')
        nn.Embed(1, 2).apply({'params': {'embedding': jnp.ones((1, 2))}}, jnp.array([7]))
        Odd().bind(variables).variables  # noqa: B018
    assert report.codes == [], report.table()


def test_a_donated_array_that_is_read_is_named():
    step = jax.jit(lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0)
    state = {'params': {'bias': jnp.ones(2), 'kernel': jnp.ones((3, 2))}}
    step(state)
    with pytest.raises(RuntimeError, match='deleted'), sanitize(show=False) as report:
        state['params']['kernel'].sum()
    (found,) = report.findings
    assert found.code == 'LN845'
    assert found.line[0] == __file__
    assert "state['params']['kernel'] was read" in found.finding.what
    assert found.finding.mend.startswith('state = step(...)')


def test_the_pair_of_apply_is_named_where_it_is_used_as_the_output():
    with pytest.raises(TypeError, match='tuple'), sanitize(show=False) as report:
        use_as_the_output()
    (found,) = report.findings
    assert found.code == 'LN846'
    assert found.line[0] == __file__
    assert found.finding.what.startswith('logits is the tuple')
    assert found.finding.mend == 'logits, updates = model.apply(..., mutable=[...])'


def test_an_error_outside_of_the_block_is_none_of_its_business():
    try:
        use_as_the_output()
    except TypeError:
        with sanitize(show=False) as report:
            pass
    assert not report


def use_as_the_output():
    layer = nn.Dense(3)
    logits = layer.apply(layer.init(KEY, X), X, mutable=[])
    return logits - 1.0


@pytest.mark.parametrize('error', [RuntimeError('another one'), TypeError('no tuple of ours')])
def test_other_errors_are_left_alone(error):
    with pytest.raises(type(error)), sanitize(show=False) as report:
        raise error
    assert not report
