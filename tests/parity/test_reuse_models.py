"""The models of the registry, three of each in one model: with and without reuse of traces."""

from __future__ import annotations

from typing import Any

import pytest

from linnet.configurations import config
from linnet.linen.module import reuse
from tests.conftest import DEEP
from tests.parity import models
from tests.parity.harness import OURS, Case, _jit_arrays, assert_same_tree, make_rngs

pytestmark = [
    pytest.mark.filterwarnings(f'ignore::linnet.errors.{kind}Warning')
    for kind in 'SameInstance SharedDefault SownAgain StateRestarted UncalledModule'.split()
]
models.load_all()
_CHEAP = ('setup_and_compact', 'several_streams', 'norms')
_NAMES = [name for name, case in models.MODELS.items() if DEEP or name in _CHEAP]


def _three_of(case: Case) -> Any:
    """A model that calls three models of a case."""

    model = case.build(OURS.nn)

    class Three(OURS.nn.Module):  # type: ignore[name-defined,misc]
        @OURS.nn.compact  # type: ignore[untyped-decorator]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return tuple(model.clone(parent=self)(*args, **kwargs) for _ in range(3))

    return Three()


def _everything(case: Case, reuse_traces: bool) -> Any:
    """What ``apply`` returns under jit, or the error that it raises."""
    model, rngs = _three_of(case), make_rngs(['params', *case.streams])

    def run(args: Any, rngs: Any) -> Any:
        options = {'rngs': rngs, **case.kwargs}
        variables = model.init(rngs, *args, **case.kwargs)
        with config.temp_flip_flag('linnet_reuse_traces', reuse_traces):
            y = model.apply(variables, *args, **options)
            return y, model.apply(variables, *args, **options, mutable=case.mutable)

    try:
        return _jit_arrays(run)(case.args, rngs)
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize('name', _NAMES)
def test_three_of_a_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case, put, puts = models.MODELS[name], reuse.Known.put, []
    monkeypatch.setattr(reuse.Known, 'put', lambda *args: [puts.append(args), put(*args)][1])
    assert_same_tree(_everything(case, False), _everything(case, True), name)
    assert puts or name not in _CHEAP
