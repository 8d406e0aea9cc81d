"""The plan of the house: which modules there are, in what order, and what the code says of them.

``PAGE`` lists the modules layer by layer, and within a layer from top to bottom: a module imports
only those that stand above it. ``python -m tests.architecture`` prints the size of each layer.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / 'src'

PAGE = {
    'ground': """
        linnet.version linnet._compat linnet.errors._base linnet.errors._suggest linnet.errors.calls
        linnet.errors.data linnet.errors.layers linnet.errors.modules
        linnet.errors.randomness linnet.errors.settings linnet.errors.programs
        linnet.errors.findings
        linnet.errors.program_findings linnet.errors.sharp_bits linnet.errors.pages
        linnet.configurations
        linnet.errors.training linnet.errors.transforms linnet.errors.variables linnet.errors
        linnet.ids
        linnet.traceback_util linnet.sharp_bits
    """,
    'data': """
        linnet._frozen_dict linnet._frozen_field linnet._msgpack_write linnet._msgpack_read
        linnet._traversals
        linnet.cursor linnet.io linnet.serialization linnet.struct linnet.traverse_util
        linnet.typing
    """,
    'core': """
        linnet.core.devices linnet.core.frames linnet.core._deferred linnet.core._init_table
        linnet.core._init_kinds linnet.core.repeated linnet.core.watching linnet.core.materialize
        linnet.core.abstract
        linnet.core.axes_scan linnet.core.hoisting linnet.core.filters
        linnet.core.frozen_dict linnet.core.meta linnet.core.partial_eval
        linnet.core.ledger linnet.core.rng linnet.core.spmd linnet.core.tracers
        linnet.core.variables linnet.core._scope
        linnet.core.loop_checks linnet.core.lift.boundary linnet.core.lift.autodiff
        linnet.core.lift.control
        linnet.core.lift.pack linnet.core.lift.variables linnet.core.lift.staging
        linnet.core.lift.batch linnet.core.lift linnet.core.scope linnet.core
    """,
    'module': """
        linnet.linen.module.decorators linnet.linen.module.merge linnet.linen.module.state
        linnet.linen.module.context linnet.linen.module.trees
        linnet.linen.module.checks linnet.linen.module.mistakes linnet.linen.module.binding
        linnet.linen.module.purity linnet.linen.module.meeting
        linnet.linen.module.reuse
        linnet.linen.module.calls linnet.linen.module.entry linnet.linen.module.plan
        linnet.linen.module.representation linnet.linen.module.variables
        linnet.linen.module.base linnet.linen.module.name_scope linnet.linen.module
    """,
    'linen': """
        linnet.linen._fp8_meta linnet.linen._fp8_quantize linnet.linen._fp8_dot
        linnet.linen._inputs linnet.linen._attention_checks linnet.linen._dropout_masks
        linnet.linen._sequences
        linnet.linen._shapes linnet.linen.activation linnet.linen.batch_apply
        linnet.linen.combinators linnet.linen.dtypes linnet.linen._norms
        linnet.linen.fp8_ops linnet.linen.initializers linnet.linen._dense
        linnet.linen._conv linnet.linen._embed linnet.linen._rnn_cells
        linnet.linen._rnn_cells_gated linnet.linen.linear linnet.linen.masks
        linnet.linen.pooling linnet.linen.stochastic linnet.linen._dot_product
        linnet.linen._attention_tiles linnet.linen.memory_efficient_attention
        linnet.linen._rnn_cells_lstm linnet.linen.rnn_cells linnet.linen.transforms.methods
        linnet.linen.transforms.autodiff linnet.linen.transforms.batch
        linnet.linen.recurrent linnet.linen.transforms.control
        linnet.linen.transforms.staging linnet.linen.transforms.own
        linnet.linen.transforms.variables
        linnet.linen._stack_forms linnet.linen.stack linnet.linen._summary_text linnet.linen.summary
        linnet.linen.spmd linnet.linen._axis_metadata linnet.linen.partitioning
        linnet.linen.reparam linnet.linen.normalization linnet.linen.attention
        linnet.linen.experimental.layers_with_named_axes linnet.linen.experimental
        linnet.linen.kw_only_dataclasses linnet.core.nn.linear linnet.core.nn.attention
        linnet.core.nn.normalization linnet.core.nn.stochastic linnet.core.nn
        linnet.linen.transforms linnet.linen
    """,
    'tools': """
        linnet.checks.report linnet.checks.values linnet.checks.effects linnet.checks.calls
        linnet.checks.rules linnet.checks.compilation linnet.checks.gradients
        linnet.checks.numbers linnet.checks.randomness linnet.checks.state
        linnet.checks.transforms linnet.checks.failures
        linnet.checks.watcher linnet.checks.process linnet.checks
        linnet.training linnet.training.train_state
        linnet.training._checkpoint_files linnet.training._process_arrays
        linnet.training.orbax_utils linnet.training._orbax_checkpoints
        linnet.training.checkpoints linnet.training.common_utils linnet.training.dynamic_scale
        linnet.training.early_stopping linnet.training.lr_schedule
        linnet.training.prefetch_iterator linnet.metrics._encodings linnet.metrics._events
        linnet.metrics.event_reader linnet.metrics.tensorboard linnet.metrics
        linnet.testing.benchmark linnet.testing linnet.jax_utils
        linnet.train.settings linnet.train.command linnet.train._report_curves
        linnet.train._report_images linnet.train._report_page linnet.train.report
        linnet.train.ahead linnet.train.keys linnet.train.precision linnet.train.metrics
        linnet.train.forward
        linnet.train.state linnet.train.step linnet.train.feed linnet.train.evaluation
        linnet.train.progress linnet.train.stopping linnet.train.writers
        linnet.train.checkpointing linnet.train.exporting linnet.train.loop
        linnet.train.trainer linnet.train
        linnet.cli._surface linnet.cli._absent linnet.cli._serving linnet.cli._program
        linnet.cli.check linnet.cli.explain linnet.cli.run linnet.cli._examples
        linnet.cli.examples linnet.cli.train linnet.cli._edits linnet.cli._scopes
        linnet.cli._python_source linnet.cli._requirements
        linnet.cli._notebook linnet.cli._files linnet.cli.migrate
        linnet.cli.commands linnet.cli.main linnet.cli linnet.__main__ linnet
    """,
}

# Doors: they bring names together, and define nothing. Packages are doors too.
DOORS = {'linnet.core.frozen_dict', 'linnet.linen.linear', 'linnet.linen.rnn_cells'}

# Doors that import what they offer at its first use, by a function of their own.
OPENED_LATE = {'linnet', 'linnet.core'}

# Imports inside functions of what stands further down the page, each with its reason.
LAZY = {
    ('linnet.core', 'linnet.core.nn'): 'layers in reach of the core, made of those of linen',
    ('linnet.core.variables', 'linnet.core._scope'): 'a variable names the type of its scope',
    ('linnet.linen.module.base', 'linnet.linen.summary'): 'a method that draws with rich',
}


@dataclass(frozen=True)
class Import:
    """One import of a module of this package; ``lazy`` inside a function."""

    module: str
    line: int
    lazy: bool
    for_types: bool


@dataclass(frozen=True)
class Source:
    """One file of the package, parsed."""

    name: str
    path: Path

    @functools.cached_property
    def text(self) -> str:
        """The whole file."""
        return self.path.read_text()

    @functools.cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.text, str(self.path))

    @property
    def is_door(self) -> bool:
        """Whether the file only brings names together."""
        return self.path.name == '__init__.py' or self.name in DOORS

    @property
    def is_public(self) -> bool:
        """Whether users import it by its name."""
        return not any(part.startswith('_') for part in self.name.split('.'))

    def imports(self) -> Iterator[Import]:
        """Yields the imports of modules of this package."""
        yield from _imports(self.tree, lazy=False, for_types=False)


def _imports(node: ast.AST, *, lazy: bool, for_types: bool) -> Iterator[Import]:
    """Walks a tree, minding whether an import runs when the module is imported."""
    for child in ast.iter_child_nodes(node):
        names: list[str] = []
        if isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom) and child.module:
            inner = [f'{child.module}.{alias.name}' for alias in child.names]
            names = [name if name in sources() else child.module for name in inner]
        for name in dict.fromkeys(names):
            if name.split('.')[0] == 'linnet':
                yield Import(name, child.lineno, lazy, for_types)
        yield from _imports(
            child,
            lazy=lazy or isinstance(child, ast.FunctionDef | ast.Lambda),
            for_types=for_types
            or (isinstance(child, ast.If) and ast.unparse(child.test).endswith('TYPE_CHECKING')),
        )


@functools.cache
def sources() -> dict[str, Source]:
    """Every file of the package, by the name that imports it."""
    found = {}
    for path in sorted((SOURCE / 'linnet').rglob('*.py')):
        parts = path.relative_to(SOURCE).with_suffix('').parts
        name = '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)
        found[name] = Source(name, path)
    return found


def page() -> list[str]:
    """All modules in the order of the page."""
    return [name for names in PAGE.values() for name in names.split()]


def print_sizes() -> None:
    """Prints files, lines, and lines of code without docstrings and comments, by layer."""
    print(f'{"layer":12} {"files":>5} {"lines":>6} {"code":>6}')
    totals = (0, 0, 0)
    for layer, names in PAGE.items():
        files = [sources()[name] for name in names.split()]
        lines = sum(len(source.text.splitlines()) for source in files)
        row = (len(files), lines, sum(map(count_code, files)))
        totals = tuple(map(sum, zip(totals, row, strict=True)))
        print(f'{layer:12} {row[0]:5} {row[1]:6} {row[2]:6}')
    print(f'{"all":12} {totals[0]:5} {totals[1]:6} {totals[2]:6}')


def count_code(source: Source) -> int:
    """Counts the lines that hold code."""
    lines = {number for number, line in enumerate(source.text.splitlines(), 1) if line.strip()}
    lines -= {n for n, line in enumerate(source.text.splitlines(), 1) if line.strip()[:1] == '#'}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


if __name__ == '__main__':
    print_sizes()
