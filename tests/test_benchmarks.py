"""Every benchmark runs, for one round of tiny models; what it would print says what it measured."""

from __future__ import annotations

import functools
import importlib.util
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from benchmarks import __main__ as program
from benchmarks import (
    _processes,
    cases,
    import_time,
    large_transformer,
    models,
    stack,
    table,
    transforms,
)
from benchmarks._processes import Summary
from tests import on_accelerator

SCALE = cases.SCALES['tiny']


# These differ from the small one in the model alone, which other tests here trace.
_LONG = {f'compiled {name}' for name in cases.MODELS if name != 'MLP'}
_DEEP = os.environ.get('LINNET_DEEP') == '1'


@pytest.mark.parametrize('group', [g for g in cases.GROUPS if _DEEP or g not in _LONG])
def test_each_group_measures_something(group):
    figures = cases.GROUPS[group].measure(['linnet'], SCALE)['linnet']
    assert figures
    for figure, value in figures.items():
        assert np.isfinite(value), figure
        assert value > 0 or 'growth' in figure, figure


@pytest.mark.parametrize('name', cases.MODELS)
def test_the_floor_is_the_same_computation(name):
    costs = []
    for library in ('linnet', 'floor'):
        model, key = cases.build(library, name, SCALE), jax.random.key(0)
        variables = jax.eval_shape(model.init, key)
        _, apply = model.pure(variables)
        sizes = sum(leaf.size for leaf in jax.tree.leaves(variables['params']))
        out = jax.eval_shape(apply, variables, *model.inputs)
        trained, changed = jax.eval_shape(model.training, variables, key, *model.inputs)
        n_changed = len(jax.tree.leaves(changed))
        costs.append((sizes, out.shape, out.dtype, trained.shape, n_changed))
    assert costs[0] == costs[1]


@pytest.mark.parametrize('library', ['nnx', 'haiku', 'equinox'])
@pytest.mark.filterwarnings('ignore')  # of the peers
def test_a_peer_computes_the_same_model(library):
    if importlib.util.find_spec(cases.MODULES[library].partition('.')[0]) is None:
        pytest.skip(f'{library} is not installed')
    wanted = cases.build('linnet', 'transformer', SCALE)
    params = jax.eval_shape(wanted.init, jax.random.key(0))
    model = cases.build(library, 'transformer', SCALE)
    made, apply = model.pure(model.init(jax.random.key(0)))
    sizes = [sum(x.size for x in jax.tree.leaves(tree)) for tree in (params, made)]
    assert sizes[0] == sizes[1]
    out = jax.eval_shape(apply, made, *model.inputs)
    assert (out.shape, out.dtype) == ((2, SCALE.length, SCALE.vocabulary), jnp.float32)


def test_processes_take_turns_and_a_failure_is_told():
    log, told = [], []

    def child(arguments):
        log.append(arguments[0])
        if arguments[0] == 'bad':
            raise _processes.ChildError('bad failed')
        return {'time': float(len(log))}

    commands = {'a': ('a',), 'bad': ('bad',), 'b': ('b',)}
    values = _processes.interleaved(commands, 3, told.append, child)
    assert log == ['a', 'bad', 'b', 'b', 'a', 'a', 'b']
    assert told == ['bad failed']
    assert {name: dict(figures) for name, figures in values.items()} == {
        'a': {'time': [1.0, 5.0, 6.0]},
        'b': {'time': [3.0, 4.0, 7.0]},
    }
    assert _processes.summaries(values)['a']['time'] == Summary((1.0, 5.0, 6.0))


def test_a_child_prints_its_figures_last():
    assert _processes.run_child(('-c', 'print("hello"); print("""{"x": 1.5}""")')) == {'x': 1.5}
    with pytest.raises(_processes.ChildError, match='no such thing'):
        _processes.run_child(('-c', 'raise SystemExit("no such thing")'))


FIGURES = {
    'eager apply, transformer': {
        'linnet': Summary((0.018, 0.015, 0.012)),
        'flax': Summary((0.150, 0.150, 0.150)),
        'floor': Summary((0.012, 0.010, 0.008)),
    },
    'cold init, ResNet-50': {
        'linnet': Summary((1.0, 1.0)),
        'flax': Summary((9.0, 11.0)),
    },
    'forward, MLP, flops': {
        'linnet': Summary((2e6,)),
        'floor': Summary((2e6,)),
    },
    'import beyond jax': {'linnet': Summary((0.1,))},
    'something else': {'flax': Summary((2.0,))},
}


def test_the_table_shows_ratios_and_goals():
    heading, eager, cold, flops, importing, other = table.rows(FIGURES)
    assert heading == ['', 'Linnet', 'Flax', 'floor', 'Linnet / Flax', 'goal', '']
    assert eager[1:] == [
        '15 ms ±20% (1.50)',
        '150 ms ±0% (15.00)',
        '10 ms ±20%',
        '0.10',
        '≤ 1.8 floor',
        'met',
    ]
    assert cold[1:] == ['1.00 s ±0%', '10.00 s ±10%', '', '0.10', '≤ Flax / 12', 'MISSED']
    assert flops[1] == '2.00 MFLOP (1.00)'
    assert importing[-2:] == ['≤ 0.12', 'met']
    assert other[1:] == ['', '2.00 s', '', '', '', '']
    assert len(set(map(len, table.markdown(FIGURES).splitlines()))) == 1


def test_ratios_are_those_of_a_round():
    busy_at_times = Summary((1.1, 3.3, 1.1)), Summary((1.0, 3.0, 2.0))
    assert busy_at_times[0].ratio_to(busy_at_times[1]) == pytest.approx(1.1)


def test_the_table_tells_figures_of_the_same_program():
    slower = {'linnet': Summary((1.1,)), 'flax': Summary((1.0,))}
    for digest, verdict in ((7.0, 'same program'), (8.0, 'MISSED')):
        programs = {'linnet': Summary((7.0,)), 'flax': Summary((digest,))}
        figures = {'GRUCell, forward': slower, 'GRUCell, forward, program': programs}
        _, row = table.rows(figures)
        assert row[-3:] == ['1.10 =' if digest == 7 else '1.10', '≤ 1 Flax', verdict]


def test_a_program_is_known_by_its_instructions():
    def compiled(fn):
        return jax.jit(fn).lower(jnp.ones(3)).compile()

    def renamed(y):
        return jnp.sin(y) + 1

    same, other = compiled(renamed), compiled(lambda x: jnp.cos(x) + 1)
    wanted = cases.number_of(compiled(lambda x: jnp.sin(x) + 1))
    assert cases.number_of(same) == wanted != cases.number_of(other)


def test_results_are_written_with_what_is_known_of_the_run(tmp_path):
    table.write_json(FIGURES, {'date': 'today'}, tmp_path / 'results' / 'run.json')
    read = json.loads((tmp_path / 'results' / 'run.json').read_text())
    assert read['date'] == 'today'
    assert read['figures']['import beyond jax']['linnet']['median'] == 0.1
    table.write_plot(FIGURES, 'a title', tmp_path / 'run.png')
    assert (tmp_path / 'run.png').read_bytes().startswith(b'\x89PNG')


def test_the_command_prints_a_table_and_leaves_out_what_is_not_there(monkeypatch, capsys):
    asked = []

    def child(arguments):
        if 'benchmarks.cases' not in arguments:
            return {'cpu, cpu': 1}
        names, group, _ = arguments[2:]
        asked.append((names, group))
        return {f'{library}: eager apply, {group}': 0.5 for library in names.split(',')}

    take_turns = functools.partial(_processes.interleaved, child=child)
    monkeypatch.setattr(_processes, 'run_child', child)
    monkeypatch.setattr(_processes, 'interleaved', take_turns)
    monkeypatch.setattr(program.importlib.util, 'find_spec', lambda name: name != 'haiku' or None)
    status = program.main(['--quick', '--only', 'transformer', 'compiled MLP', '--name', ''])
    printed = capsys.readouterr()
    assert status == 0
    with pytest.raises(SystemExit, match='no group begins'):
        program.main(['--only', 'transfromer'])
    assert 'Haiku is not installed: left out' in printed.err
    assert '500 ms (1.00)' in printed.out
    assert 'Haiku |' not in printed.out
    assert ('nnx', 'transformer') in asked
    assert ('linnet,flax,floor', 'compiled MLP') in asked


def test_what_was_measured_before_an_interruption_is_printed(monkeypatch, capsys):
    def take_turns(commands, rounds, tell):
        if 'nnx' in commands:
            return {'linnet': {'linnet: eager apply': [0.5]}}
        raise KeyboardInterrupt

    monkeypatch.setattr(_processes, 'run_child', lambda arguments: {'cpu, cpu': 0.5})
    monkeypatch.setattr(_processes, 'interleaved', take_turns)
    assert program.main(['--only', 'transformer', 'deep', '--name', '']) == 1
    printed = capsys.readouterr()
    assert '500 ms' in printed.out
    assert 'interrupted' in printed.err


def test_lifting_is_measured():
    measured = {name: ratio for name, _, _, ratio in transforms.rows(nn, runs=1)}
    assert list(measured) == ['remat', 'jit', 'vmap', 'scan', 'grad']
    assert all(ratio > 0 for ratio in measured.values())


def test_stacks_are_measured(capsys):
    stack.compile_times({'Stack of 2': stack.Transformer(2)}, ['forward'], runs=1)
    assert 'Stack of 2' in capsys.readouterr().out


@pytest.mark.skipif(not _DEEP, reason='compiles for long; LINNET_DEEP=1')
def test_stacks_are_equal(capsys):
    stack.differences(2)
    assert 'bit for bit: True' in capsys.readouterr().out


@pytest.mark.filterwarnings('ignore')  # of Flax
def test_a_large_transformer_is_measured(capsys):
    large_transformer.main(['--tiny', '--seconds', '0'])
    printed = capsys.readouterr().out
    assert all(form in printed for form in large_transformer.FORMS)
    assert 'training step' in printed


def test_numbers_are_compared_on_the_device_at_hand():
    oracle = pytest.importorskip('flax.linen')
    lines = list(on_accelerator.dropout(oracle))
    assert len(lines) == 6
    assert all(is_good for _, _, is_good in lines)
    _, said, is_good = on_accelerator._equal('x', [jnp.ones(2), jnp.ones(3)], [jnp.ones(2)] * 2)
    assert (said, is_good) == ('1 of 2 arrays equal to the bit, others differ by up to inf', False)
    assert on_accelerator._near('x', jnp.ones(4), jnp.full(4, 1.1), 0.1)[2]
    assert not on_accelerator._near('x', jnp.ones(4), jnp.full(4, 1.2), 0.1)[2]


def test_importing_is_measured():
    assert import_time.milliseconds('json') > 0


def test_scales_shrink():
    for name in ('quick', 'tiny'):
        assert cases.SCALES[name].tokens < models.FULL.tokens
