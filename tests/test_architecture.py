"""The house stays as it was drawn: imports, sizes, doors and documentation follow the plan."""

from __future__ import annotations

import ast
import graphlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.architecture import DOORS, LAZY, OPENED_LATE, PAGE, ROOT, SOURCE, Source, page, sources

# Lines of a file, and of a function without its documentation.
MAX_FILE, MAX_FUNCTION = 500, 60

# What `import linnet.linen` leaves to the moment of its use.
HEAVY = 'matplotlib optax orbax rich sklearn tensorboardX tensorflow yaml'.split()

# Names that users' programs reach for although no page documents them.
USED = {
    'linnet.core.lift': 'Out',
    'linnet.core.scope': """
        CollectionFilter FrozenDict LazyRng MutableVariableDict VariableDict _is_valid_rng
    """,
    'linnet.cursor': '_traverse_tree',
    'linnet.linen.linear': """
        PrecisionLike _canonicalize_tuple _conv_dimension_numbers _normalize_axes
        default_embed_init default_kernel_init
    """,
    'linnet.linen.module': """
        InterceptorContext SetupState VariableDict _context _freeze_attr
        _get_local_method_names _get_suffix_value_pairs wrap_method_once merge_param
    """,
    'linnet.linen.normalization': '_canonicalize_axes',
    'linnet.linen.partitioning': """
        RulesFallback ScanIn axis_rules get_axis_names logical_to_mesh_axes param_with_axes remat
        scan_with_axes variable_with_axes vmap_with_axes with_sharding_constraint
    """,
    'linnet.linen.summary': '_ArrayRepresentation _ObjectRepresentation _get_module_table',
    'linnet.linen.transforms': '_HashableProxy',
    'linnet.serialization': """
        _STATE_DICT_REGISTRY _dict_state_dict _msgpack_ext_pack _restore_dict
    """,
    'linnet.traceback_util': '_flax_exclusions',
}

every_source = pytest.mark.parametrize('source', sources().values(), ids=sources())


def functions(source: Source) -> Iterator[ast.FunctionDef]:
    """Yields all functions of a file, inner ones too."""
    return (node for node in ast.walk(source.tree) if isinstance(node, ast.FunctionDef))


def public_definitions(source: Source) -> dict[str, ast.stmt]:
    """Maps each public name that a file defines itself to the statement."""
    found: dict[str, ast.stmt] = {}
    for node in source.tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id: node for target in targets if isinstance(target, ast.Name)}
    return {name: node for name, node in found.items() if not name.startswith('_')}


def listed(source: Source) -> list[str] | None:
    """The value of ``__all__``, or None without one."""
    for node in source.tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '__all__':
            return ast.literal_eval(node.value)
    return None


def python(program: str) -> str:
    """Runs a program in a fresh process; returns what it prints."""
    environment = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(SOURCE)}
    done = subprocess.run(
        [sys.executable, '-c', program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_stands_on_the_page_once() -> None:
    assert sorted(page()) == sorted(sources())


@every_source
def test_imports_go_up_the_page(source: Source) -> None:
    place = {name: number for number, name in enumerate(page())}
    for found in source.imports():
        if (source.name, found.module) in LAZY:
            assert found.lazy or found.for_types
            continue
        where = f'{source.path}:{found.line} imports {found.module}'
        assert place[found.module] < place[source.name], where


def test_lazy_imports_are_few_and_real() -> None:
    real = {(name, found.module) for name in sources() for found in sources()[name].imports()}
    assert real >= set(LAZY)
    assert len(LAZY) <= 3
    assert all(LAZY.values())


def test_no_cycle() -> None:
    graph = {
        name: {found.module for found in source.imports() if not found.lazy and not found.for_types}
        for name, source in sources().items()
    }
    graphlib.TopologicalSorter(graph).prepare()


@every_source
def test_imports_name_the_module_that_defines(source: Source) -> None:
    if source.is_door:
        return
    for found in source.imports():
        assert not sources()[found.module].is_door, f'{source.path}:{found.line} uses a door'


@every_source
def test_doors_define_nothing(source: Source) -> None:
    if not source.is_door or source.name in OPENED_LATE:
        return
    for node in source.tree.body:
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_list = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '__all__'
        assert is_text or is_list or isinstance(node, ast.Import | ast.ImportFrom), ast.unparse(
            node
        )


@every_source
def test_files_and_functions_fit(source: Source) -> None:
    assert len(source.text.splitlines()) <= MAX_FILE, source.path
    for function in functions(source):
        length = function.end_lineno - function.lineno + 1
        if ast.get_docstring(function):
            length -= function.body[0].end_lineno - function.body[0].lineno + 1
        assert length <= MAX_FUNCTION, f'{source.path}:{function.lineno} {function.name}'


@every_source
def test_lists_of_names_are_sorted_and_complete(source: Source) -> None:
    names = listed(source)
    if names is None:
        return
    assert names == sorted(set(names))
    assert set(names) >= public_definitions(source).keys(), source.path


@every_source
def test_everything_public_is_documented(source: Source) -> None:
    assert ast.get_docstring(source.tree), f'{source.path} does not say what it is for'
    if not source.is_public:
        return
    for name, node in public_definitions(source).items():
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            assert ast.get_docstring(node), f'{source.path}:{node.lineno} {name}'


def test_every_error_is_named_by_a_test() -> None:
    tests = '\n'.join(path.read_text() for path in (ROOT / 'tests').rglob('test_*.py'))
    named = set(re.findall(r'\w+', tests))
    errors = {
        name
        for source in sources().values()
        if source.name.startswith('linnet.errors.')
        for name, node in public_definitions(source).items()
        if isinstance(node, ast.ClassDef)
    }
    assert errors <= named, sorted(errors - named)


def test_the_package_offers_its_public_modules() -> None:
    offered = set(ast.literal_eval(python('import linnet; print(dir(linnet))')))
    public = {name.split('.')[1] for name in sources() if re.fullmatch(r'linnet\.[a-z]\w*', name)}
    assert offered >= public
    python('import linnet\n' + '\n'.join(f'linnet.{name}' for name in public | {'config'}))


def test_every_module_can_be_imported_first() -> None:
    python(f"""
import importlib, sys
for first in {sorted(sources())}:
    for name in [name for name in sys.modules if name.split('.')[0] == 'linnet']:
        del sys.modules[name]
    importlib.import_module(first)
""")


def test_importing_linen_leaves_heavy_packages_alone() -> None:
    printed = python('import sys, linnet.linen; print(*sys.modules)')
    assert not set(HEAVY) & set(printed.split())


def test_importing_the_package_imports_no_jax() -> None:
    assert 'jax' not in python('import sys, linnet; print(*sys.modules)').split()


@pytest.mark.parametrize('module', [name for name in USED if name in sources()])
def test_names_in_use_are_there(module: str) -> None:
    python(f"""
import importlib
module = importlib.import_module({module!r})
missing = [name for name in {USED[module].split()} if not hasattr(module, name)]
assert not missing, missing
""")


def test_the_plan_mentions_only_what_exists() -> None:
    assert sources().keys() >= DOORS
    assert list(PAGE) == ['ground', 'data', 'core', 'module', 'linen', 'tools']
