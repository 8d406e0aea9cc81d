"""Every error: its code, its page, its message, and that it survives pickling."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
import re
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linnet.linen as nn
from linnet import errors
from linnet.errors import _suggest

CLASSES = {
    name: getattr(errors, name)
    for name in errors.__all__
    if name not in ('FlaxError', 'codes', 'explain')
    and issubclass(getattr(errors, name), errors.LinnetError)
}
WARNINGS = [
    value
    for name, value in vars(errors).items()
    if name.endswith('Warning') and value is not errors.SharpBitWarning
]
HUNDREDS = {
    '_base': 'LN0',
    'randomness': 'LN1',
    'variables': 'LN2',
    'modules': 'LN3',
    'calls': 'LN3',
    'transforms': 'LN4',
    'layers': 'LN5',
    'data': 'LN6',
    'settings': 'LN7',
    'programs': 'LN8',
    'training': 'LN9',
}


class Net:
    """Stands for a module class."""


class Cursor:
    def __init__(self, path):
        self._path = path


def initializer(key):
    return key


def stream(*args, **kwargs):
    return errors.InvalidRngError.missing_stream(*args, **kwargs)


E = errors
KEY = jax.random.key(0)
MESSAGES = [
    (E.LinnetError('it broke', why='the rule', mend='the line'), 'LN000; it broke; the rule; line'),
    # LN1xx
    (E.InvalidRngError('no key', why='w', mend='m', where='/a'), '/a: no key'),
    (stream('dropout'), "'dropout'; no key was given; apply(; rngs={'dropout': key}"),
    (stream('dropout', where='/Block_0/Dropout_0 (Dropout)'), '] /Block_0/Dropout_0 (Dropout): '),
    (stream('dropout', given=('params', 'dropuot')), "'params', 'dropuot'; is 'dropuot' a missp"),
    (stream('dropout', initializing=True), "init({'params': key, 'dropout': other_key}"),
    (stream('dropout', hidden_by='nn.scan'), "nn.scan hides; split_rngs={'dropout': True}"),
    (
        E.InvalidRngError.not_a_key('dropout', jax.random.split(KEY, 3)),
        "rngs['dropout']; (3,); key<fry>; array of 3 keys; single key; keys[0]",
    ),
    (
        E.InvalidRngError.not_a_key('params', jax.random.split(jax.random.PRNGKey(0), 5)),
        '(5, 2); uint32; 5 keys',
    ),
    (E.InvalidRngError.not_a_key('params', jnp.ones(3)), '(3,); float32; jax.random.key(seed)'),
    (E.InvalidRngError.not_a_key('params', 3), 'the int 3, which is not one key'),
    (E.InvalidRngError.not_rngs(jnp.ones(3)), 'array of shape (3,); model.init(key, x), the key f'),
    (E.InvalidRngError.not_rngs(jax.random.PRNGKey), 'PRNGKey(0), which makes a key'),
    (E.InvalidRngError.not_rngs(3), 'jax.random.key(3)'),
    (E.InvalidRngError.not_rngs('key'), "the str 'key'; {'params': key, 'dropout': other_key}"),
    (E.InvalidRngError.not_rngs(3), 'rngs is the int 3; neither; dict from stream to key'),
    (E.InvalidRngError.not_rngs(jax.random.split(KEY)), 'array of 2 keys, not one'),
    # LN2xx
    (
        E.ScopeParamNotFoundError('kernal', '/Dense_0', known=('kernel', 'bias')),
        "/Dense_0: ; 'kernal'; 'params' holds 'kernel', 'bias'; mean 'kernel'?; init(",
    ),
    (E.ScopeParamNotFoundError('kernel', '/Dense_0'), "'kernel'; 'params' holds nothing"),
    (
        E.ScopeParamShapeError('kernel', '/Dense_0', (5, 4), (3, 4)),
        "/Dense_0: ; 'kernel'; (5, 4); (3, 4); input's width differs; expected input width 5",
    ),
    (E.ScopeParamShapeError('kernel', '/', (3, 3, 8, 4), (3, 3, 6, 4)), 'expected input width 8'),
    (E.ScopeParamShapeError('kernel', '/', (3, 4), (3, 6)), 'now has 6 features; it had 4; input'),
    (E.ScopeParamShapeError('kernel', '/', (8, 3, 4), (3, 4)), 'extra leading axis of size 8; inp'),
    (E.ScopeParamShapeError('kernel', '/', (3, 4, 8), (2, 4, 8)), "input's shape or the module's"),
    (E.ScopeParamShapeError('kernel', '/', (3, 4), (2, 5)), "input's shape or the module's"),
    (E.ScopeParamShapeError('scale', '/', (3,), (2,)), "'scale'; input's shape or the module's"),
    (E.ScopeParamShapeError('embedding', '/', (3, 4), (2, 4)), "'embedding'; input's shape or"),
    (
        E.ScopeCollectionNotFound('batch_stats', 'mean', '/BatchNorm_0', known=('params',)),
        "/BatchNorm_0: ; 'batch_stats'; 'mean'; hold 'params'; apply({'params': params, 'batch_st",
    ),
    (
        E.ScopeCollectionNotFound('batch_stats', 'm', '/', known=('batch_stat',)),
        "mean 'batch_stats'?|mean 'batch_stat'?",
    ),
    (E.ScopeCollectionNotFound('params', 'kernel', '/Dense_0'), 'hold nothing; model.init('),
    (
        E.ScopeCollectionNotFound('params', 'kernel', '/Dense_0', hidden_by='nn.scan'),
        "Dense_0; params; nn.scan; variable_axes={'params': 0}; variable_broadcast='params'",
    ),
    (
        E.ScopeCollectionNotFound('batch_stats', 'mean', '/B', hidden_by='nn.scan'),
        "variable_axes={'batch_stats': 0}; variable_carry='batch_stats'",
    ),
    (
        E.ScopeCollectionNotFound('params', 'kernel', '/B', hidden_by='nn.vmap'),
        "nn.vmap(..., variable_axes={'params': 0})",
    ),
    (
        E.ScopeCollectionNotFound('params', 'kernel', '/dense', hidden_by='nn.while_loop'),
        'params; before nn.while_loop; once while initializing',
    ),
    (
        E.ScopeVariableNotFoundError('cuont', 'state', '/a', known=('count',)),
        "'cuont'; 'state' holds 'count'; mean 'count'?; self.variable('state', 'cuont'",
    ),
    (
        E.ModifyScopeVariableError('batch_stats', 'mean', '/BatchNorm_0'),
        "/BatchNorm_0: ; 'mean'; 'batch_stats' is read-only; mutable=['batch_stats']; "
        'use_running_average=True',
    ),
    (E.ModifyScopeVariableError('cache', 'k', '/a'), "mutable=['cache']"),
    (
        E.ModifyScopeVariableError('cache', 'k', '/a', mutable=['cach']),
        "mutable does not name the collection. Did you mean 'cach'?",
    ),
    (
        E.ModifyScopeVariableError('state', 'k', '/a', held_by='nn.map_variables'),
        'read-only inside nn.map_variables; nn.map_variables(..., mutable=True)',
    ),
    (
        E.ModifyScopeVariableError('state', 'k', '/a', held_by='nn.while_loop'),
        "nn.while_loop(..., carry_variables='state')",
    ),
    (
        E.ModifyScopeVariableError('state', 'k', '/a', held_by='the condition of nn.while_loop'),
        'inside the condition of nn.while_loop; change it in the body',
    ),
    (E.ImmutableVariableError('x is frozen', mend='copy it'), 'x is frozen; copy it'),
    (E.InvalidScopeError('Dense_0'), "'Dense_0' is no longer valid; bind("),
    (E.InvalidScopeError(None), "the scope '/' is"),
    (E.InvalidFilterError(3), '3 is not a filter; DenyList'),
    (E.LazyInitError(jax.ShapeDtypeStruct((2,), jnp.int8)), 'ShapeDtypeStruct; init(key, x)'),
    (E.ApplyScopeInvalidVariablesTypeError(), 'must be a dict; first argument of apply()'),
    (E.ApplyScopeInvalidVariablesTypeError(variables=jnp.ones(2)), 'got an array of shape (2,)'),
    (E.ApplyScopeInvalidVariablesTypeError(bad_key=3, where='/a'), '/a: ; got the key 3'),
    (
        E.ApplyScopeInvalidVariablesStructureError({'params': {'params': {}}}),
        "extra 'params' level; holds 'params'; model.apply(variables, x)",
    ),
    (E.ApplyScopeInvalidVariablesStructureError(None), "extra 'params' level; holds 'params'"),
    (E.PartitioningUnspecifiedError('a box'), "'a box'; nn.PARTITION_NAME"),
    # LN3xx
    (
        E.AssignSubModuleError('Dense', parent=Net, method='__call__'),
        'Dense was created in Net.__call__; neither setup() nor @nn.compact; put @nn.compact; '
        'self.dense = Dense(...)',
    ),
    (E.AssignSubModuleError('Dense'), 'Dense was created outside of setup(); @nn.compact'),
    (E.SetAttributeFrozenModuleError('Net', 'n', 3), 'Net.n = 3; frozen; model.clone(n=...)'),
    (
        E.SetAttributeInModuleSetupError(module_cls=Net, attr_name='width'),
        'setup() set the field Net.width; another name',
    ),
    (E.SetAttributeInModuleSetupError(), 'setup() set a field of the module'),
    (
        E.MultipleMethodsCompactError(module_cls=Net, methods=('encode', 'decode')),
        "Net has more than one; @nn.compact: 'encode', 'decode'; setup()",
    ),
    (E.MultipleMethodsCompactError(), 'a module class has more than one'),
    (
        E.ReservedModuleAttributeError({'name': 'str'}, module_cls=Net),
        "Net defines the field 'name'; {'name': 'str'}; another name",
    ),
    (E.ReservedModuleAttributeError('x'), "'parent', 'name'; 'x'"),
    (
        E.ApplyModuleInvalidMethodError('encod', module_cls=Net, known=('encode',)),
        "method='encod'; not a method of Net; mean 'encode'?; Its methods are 'encode'",
    ),
    (E.ApplyModuleInvalidMethodError(initializer), 'method=<function initializer>; the module'),
    (
        E.NameInUseError('submodule', 'Dense_0', 'Net', where='/a'),
        "/a: ; submodule 'Dense_0' in Net; name is in use; name=",
    ),
    (
        E.BindingError('parameter', 'scale', module_cls=Net, method='__call__'),
        "parameter 'scale'; Net.__call__; neither setup() nor @nn.compact; above __call__",
    ),
    (E.BindingError('submodule'), 'a submodule was created outside a module; above the method'),
    (
        E.BindingError.unbound('variable', 'mean', module_cls=Net, action='read'),
        "cannot read variable 'mean' of Net; not bound; bind(variables)",
    ),
    (E.BindingError.unbound('variables'), 'cannot create variables of the module'),
    (
        E.InvalidInitializerError('kernel', initializer=jax.nn.initializers.lecun_normal),
        'kernel; lecun_normal; returned a function; kernel_init=lecun_normal()',
    ),
    (
        E.InvalidInitializerError.not_callable('w', 3, keyed=True),
        "LN318; initializer of 'w' is the int 3, not a function; lambda key: value",
    ),
    (
        E.InvalidInitializerError.wrong_arguments('w', initializer, (3, 4), keyed=True),
        "'w' was called as initializer(key, 3, 4); one tuple; normal(), (3, 4)",
    ),
    (
        E.InvalidInitializerError.wrong_arguments('n', initializer, (), keyed=False),
        "'n' was called as initializer(); without a key; self.make_rng()",
    ),
    (E.InvalidInitializerError('w', initializer='zeros', value='x'), "zeros; the str 'x' in place"),
    (
        E.CallCompactUnboundModuleError(module_cls=Net, method='__call__'),
        'Net is not bound to variables; Net().init(key, x); Net().apply(variables, x)',
    ),
    (E.CallCompactUnboundModuleError(module_cls=Net, method='enc'), "Net.enc; x, method='enc')"),
    (E.CallCompactUnboundModuleError(), 'the module is not bound; model.init(; model.apply('),
    (E.CallSetupUnboundModuleError(module_cls=Net), 'setup() of Net; Net().bind(variables)'),
    (E.CallUnbindOnUnboundModuleError(module_cls=Net), 'unbind() of Net; .bind(variables).unb'),
    (E.CallShareScopeOnUnboundModuleError(module_cls=Net), 'with Net, which is not bound'),
    (
        E.IncorrectPostInitOverrideError(module_cls=Net),
        'Net overrides; super().__post_init__(); of Net.__post_init__',
    ),
    (
        E.DescriptorAttributeError(
            module_cls=Net, descriptor='hidden_size', missing='hiden', known=('hidden',)
        ),
        "'hidden_size' of Net; 'hiden'; mean 'hidden'?",
    ),
    (E.DescriptorAttributeError(), 'a property of the module reads an attribute'),
    (
        E.InvalidInstanceModuleError(module_cls=Net, method='apply'),
        'Net.apply was called on the class; Net(...).apply(...)',
    ),
    (E.InvalidInstanceModuleError(), 'init, init_with_output or apply; Net(...).init(...)'),
    (
        E.FieldError.without_annotation(Net, 'features', 64),
        'Net.features = 64; no type annotation; features: int = 64',
    ),
    (
        E.FieldError.mutable_default(Net, 'features', [8, 8]),
        'Net.features; [8, 8]; list; tuple; features: tuple[Any, ...] = (8, 8)',
    ),
    (E.FieldError.mutable_default(Net, 'cfg', {'a': 1}), "dict; default_factory=lambda: {'a': 1}"),
    (
        E.FieldError.unknown_argument(Net, 'featrues', ('features', 'name')),
        "Net() has no field 'featrues'; mean 'features'?; fields are 'features', 'name'",
    ),
    (
        E.FieldError.missing_arguments(Net, ('features', 'depth')),
        "Net() lacks a value for 'features', 'depth'; Net(features=..., depth=...)",
    ),
    (
        E.FieldError.array_given('LayerNorm', 'epsilon', jnp.ones((2, 3))),
        "LayerNorm; (2, 3); 'epsilon'; nn.LayerNorm()(x)",
    ),
    (E.ModuleArgumentError(Net), 'LN319; JAX was given the module; static_argnums; nn.Net(...)(x)'),
    (E.ModuleArgumentError(Net, field='epsilon'), 'Net got an array for epsilon; nn.Net()(x)'),
    (
        E.MissingAttributeError(nn.Dense(3), 'kernal_init'),
        "LN320; 'Dense' object has no attribute 'kernal_init'; mean 'kernel_init'?; .bind(",
    ),
    (E.MissingAttributeError(nn.Dense(3), 'train'), 'a mode is an argument'),
    (E.VariableValueError('no +', line='n + 1'), 'LN321; in `n + 1`: no +; variable.value'),
    (E.ParentError(3, module_cls=Net), 'parent of Net is the int 3; parent=None'),
    # LN4xx
    (
        E.JaxTransformError(transform='jax.jit', subject='Dense_0', where='/Dense_0'),
        'jax.jit was applied to Dense_0; use nn.jit in place of jax.jit',
    ),
    (E.JaxTransformError(), 'a JAX transform; a module that holds variables; nn.scan'),
    (E.TransformTargetError(Net(), transform='nn.jit'), 'nn.jit was given; Net object; nn.jit(My'),
    (E.TransformTargetError(3), 'a lifted transform was given 3'),
    (E.TransformedMethodReturnValueError('layer'), "'layer' returned a Module or a Variable"),
    (
        E.JaxTransformError.no_hash(Net, where='/Net_0'),
        'Net is bound to variables; no hash; jax.jit; nn.jit(Net)(...)(x)',
    ),
    (
        E.JaxTransformError.closed_over('nn.scan', 'params/kernel', where='/Dense_0'),
        'params/kernel; the function under nn.scan closes over; pass the module in',
    ),
    (E.TracedFlagError(), 'a value is traced; as a condition; jnp.where(condition, a, b)'),
    (
        E.TracedFlagError('train', line='if train:', calls=['Dropout_0']),
        "train is traced; `if train:`; calls 'Dropout_0'; static_argnames='train'",
    ),
    (
        E.TracedFlagError(
            'train', transform='nn.remat', static=(1,), parameters=('self', 'x', 'train')
        ),
        'static_argnums=(1,); self is 0; 1 is x, train is 2; nn.remat(..., static_argnums=(2,))',
    ),
    (E.UnboundAxisError('batch'), "LN407; of the name 'batch'; jax.vmap(..., axis_name='batch')"),
    (E.TraceContextError('leaked', why='w'), 'leaked; w'),
    (E.ScanError('axis 3 is out of range', mend='in_axes=0'), 'LN405; axis 3; in_axes=0'),
    # LN5xx
    (E.InvalidOptionError('padding is 3', mend="padding='SAME'"), 'LN501; padding is 3; SAME'),
    (E.InputShapeError('x'), 'LN502'),
    (E.InputDtypeError('x'), 'LN503'),
    (E.MaskError('x'), 'LN504'),
    (E.TokenIdError('x'), 'LN505'),
    (E.CarryError('x'), 'LN506'),
    # LN6xx
    (E.InvalidCheckpointError('/ckpt', 3), '/ckpt; step 3; overwrite=True'),
    (E.MPACheckpointingRequiredError('/ckpt', 3), '/ckpt; step 3; several processes'),
    (E.MPARestoreTargetRequiredError('/ckpt', 3, 'w'), "/ckpt, entry 'w', holds; target="),
    (E.MPARestoreTargetRequiredError('/ckpt', 3), '/ckpt holds'),
    (E.MPARestoreDataCorruptedError(3, '/ckpt'), '/ckpt is incomplete; step 3'),
    (E.AlreadyExistsError('/a'), "'/a' exists already; overwrite=True"),
    (E.RemotePathError('gs://a'), "'gs://a'; TensorFlow is not installed"),
    (E.CursorFindError(), 'found nothing'),
    (E.CursorFindError(Cursor('params/a'), Cursor('params/b')), "'params/a' and 'params/b'; find_"),
    (E.CursorPathError('no part'), 'LN614; no part'),
    (E.TraverseTreeError(None, None), 'neither; exactly one'),
    (E.TraverseTreeError(initializer, 3), 'update_fn=<function initializer>, cond_fn=3'),
    (E.SerializationError('bad bytes'), 'LN608; bad bytes'),
    (E.StateDictError('bad names'), 'LN609; bad names'),
    (E.FrozenDictError('frozen'), 'LN610; frozen'),
    (E.DictTypeError('no dict'), 'LN611; no dict'),
    (E.TrainStateError('bad state'), 'LN613; bad state'),
    (E.CheckpointNotFoundError('no step 3'), 'LN620; no step 3'),
    (E.CheckpointContentError('damaged'), 'LN621; damaged'),
    (E.ToolArgumentError('keep is 0'), 'LN622; keep is 0'),
    (E.DeviceBatchError('30 on 8 devices'), 'LN623; 30 on 8 devices'),
    (
        E.MissingPackageError('tensorboardX', user='SummaryWriter', extra='tensorboard'),
        "SummaryWriter needs tensorboardX; not installed; pip install 'linnet[tensorboard]'",
    ),
    # LN7xx
    (E.UnknownFlagError('flax_profle', known=['flax_profile']), "'flax_profle'; mean 'flax_prof"),
    (E.FlagValueError('X', 'maybe', wanted='a boolean', mend='1'), "X is 'maybe'; a boolean; X=1"),
    (E.UnknownCodeError('LN102'), "no code 'LN102'; codes()"),
    (E.FlagTruthError('flax_profile'), "'flax_profile'; config.flax_profile"),
    # LN8xx
    (E.NotInLinnetError('flax.nnx', why='outside', mend='python'), 'flax.nnx; outside; python'),
    (
        E.NotInLinnetError('flax.linen.Dens', known=('Conv', 'Dense')),
        "no flax.linen.Dens; mean 'Dense'?; from flax.linen import Dense",
    ),
    (E.NotInLinnetError('flax.linen.Foo', known=('Conv',)), 'no flax.linen.Foo'),
    # LN9xx
    (E.EmptyDataError('no batch', why='used up', mend='a list'), 'no batch; used up; a list'),
    (E.LossError('loss is None', mend='losses.mean()'), 'loss is None; losses.mean()'),
    (E.BatchError('x: 3, y: 4', why='the first axis'), 'x: 3, y: 4; the first axis'),
    (E.StreamError("draws from 'noise'", where='/Net'), "/Net: draws from 'noise'"),
    (E.NonFiniteLossError('the loss of step 3 is nan', mend='clip=1.0'), 'step 3 is nan; clip=1.0'),
    (E.TrainOptionError('clip=0', mend='clip=1.0'), 'clip=0; clip=1.0'),
    (E.CheckpointMismatchError('missing: a/b\nextra: c'), 'missing: a/b; extra: c'),
    (E.CheckpointDamagedError('step 3 is damaged', mend='restore(step=2)'), 'step 3; step=2'),
    (E.CheckpointWriteError('no space left', mend='another disk'), 'no space left; another disk'),
]


@pytest.mark.parametrize(('error', 'words'), MESSAGES, ids=lambda value: type(value).__name__)
def test_a_message_says_the_facts(error, words):
    text = str(error)
    assert text.startswith(f'[{error.code}] ')
    for word in words.split('; '):
        assert any(alternative in text for alternative in word.split('|')), (word, text)
    assert '0x' not in text
    assert all(len(line) < 240 for line in text.splitlines())


def test_every_class_is_in_the_table_of_messages():
    assert {type(error) for error, _ in MESSAGES} == set(CLASSES.values())


@pytest.mark.parametrize('error', [error for error, _ in MESSAGES], ids=lambda e: e.code)
def test_an_error_survives_pickling_and_copying(error):
    error.locate('/Dense_0', 'Dense')
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert other.args == error.args == (error.what,)
        assert vars(other) == vars(error)


def test_codes_are_unique_and_say_the_kind():
    codes = [cls.code for cls in (*CLASSES.values(), *WARNINGS)]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r'LN[1-6]5\d', cls.code) for cls in WARNINGS)
    for cls in CLASSES.values():
        assert re.fullmatch(r'LN\d{3}', cls.code)
        assert cls.code.startswith(HUNDREDS[cls.__module__.rpartition('.')[2]])


@pytest.mark.parametrize(
    'cls', [*(cls for cls in CLASSES.values() if cls is not E.LinnetError), *WARNINGS]
)
def test_a_page_has_a_wrong_program_a_right_one_and_the_reason(cls):
    page = inspect.getdoc(cls)
    assert len(page.splitlines()) <= 26
    assert page.splitlines()[0].endswith('.')
    head, wrong, right = re.split(r'\n(?:Wrong|Right)::\n', page)
    right, reason = right.split('\nReason: ')
    assert head.strip()
    assert reason.strip()
    for program in (wrong, right):
        assert program.startswith('\n    ')
        ast.parse(textwrap.dedent(program))


def test_all_names_are_exported_in_order():
    defined = {
        name
        for module in (*HUNDREDS, 'sharp_bits', 'findings', 'program_findings')
        for name, value in vars(__import__(f'linnet.errors.{module}', fromlist=['x'])).items()
        if isinstance(value, type) and issubclass(value, (errors.LinnetError, Warning))
    }
    assert errors.__all__ == sorted(errors.__all__)
    assert set(errors.__all__) == defined | {'FlaxError', 'codes', 'explain'}
    assert errors.FlaxError is errors.LinnetError
    assert issubclass(errors.SharpBitWarning, UserWarning)


@pytest.mark.parametrize(
    ('cls', 'builtin'),
    [
        (E.InvalidRngError, ValueError),
        (E.BindingError, ValueError),
        (E.FieldError, TypeError),
        (E.FieldError, ValueError),
        (E.ParentError, TypeError),
        (E.InvalidInitializerError, TypeError),
        (E.InvalidOptionError, ValueError),
        (E.InputShapeError, ValueError),
        (E.InputDtypeError, TypeError),
        (E.MaskError, ValueError),
        (E.TokenIdError, ValueError),
        (E.CarryError, ValueError),
        (E.SerializationError, ValueError),
        (E.StateDictError, ValueError),
        (E.FrozenDictError, ValueError),
        (E.DictTypeError, TypeError),
        (E.RemotePathError, ImportError),
        (E.InvalidCheckpointError, ValueError),
        (E.CheckpointNotFoundError, ValueError),
        (E.CheckpointContentError, ValueError),
        (E.ToolArgumentError, TypeError),
        (E.ToolArgumentError, ValueError),
        (E.DeviceBatchError, AssertionError),
        (E.DeviceBatchError, ValueError),
        (E.MissingPackageError, ImportError),
        (E.UnknownFlagError, LookupError),
        (E.UnknownFlagError, AttributeError),
        (E.FlagValueError, ValueError),
        (E.FlagTruthError, TypeError),
    ],
)
def test_an_error_is_also_the_builtin_that_programs_catch(cls, builtin):
    assert issubclass(cls, errors.LinnetError)
    assert issubclass(cls, builtin)


def test_the_first_place_is_kept_and_completed_by_its_class():
    error = errors.LinnetError('it broke')
    assert str(error) == '[LN000] it broke'
    error.locate('/a/Dense_0')
    error.locate('/a', 'Block')
    error.locate('/a/Dense_0', 'Dense')
    error.locate('/a/Dense_0', 'Block')
    assert str(error) == '[LN000] /a/Dense_0 (Dense): it broke'
    error = errors.LinnetError('it broke')
    error.locate('/a', 'Block')
    error.locate('/a', 'Net')
    assert error.where == '/a (Block)'


def test_a_message_of_several_lines_is_indented():
    error = errors.LinnetError('it broke', why='one\ntwo', mend='line')
    assert str(error) == '[LN000] it broke\n  Why: one\n  two\n  Mend: line'


def test_near_misses():
    assert _suggest.near('kernel', ['kernel', 'bias']) is None
    assert _suggest.near('x', ['kernel']) is None
    assert _suggest.near(3, ['33', 'x']) is None
    assert _suggest.did_you_mean('kernal', ['kernel']) == "Did you mean 'kernel'?"
    assert _suggest.did_you_mean('zzz', ['kernel']) == ''


def test_a_long_listing_is_cut():
    assert _suggest.listing(range(8)) == "'0', '1', '2', '3', '4', '5', '6', '7'"
    assert _suggest.listing(range(11)).endswith("'7', and 3 more")


def test_values_are_described_briefly():
    assert _suggest.brief('x' * 200) == "'" + 'x' * 76 + '...'
    assert _suggest.brief(initializer) == '<function initializer>'
    assert _suggest.described(None) == 'None'
    assert _suggest.described(np.ones((2, 1))) == 'an array of shape (2, 1) and dtype float64'
    assert _suggest.class_name(Net()) == _suggest.class_name(Net) == 'Net'
