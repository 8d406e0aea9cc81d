"""Fields that are given by keyword stand behind the others, in every class of a line."""

import dataclasses
import inspect

import pytest

from linnet.linen import kw_only_dataclasses as kw
from tests.parity.harness import same


def parameters(cls):
    return [(p.name, p.default) for p in inspect.signature(cls).parameters.values()]


def line_of_classes(lib):
    kw = lib.load('linen.kw_only_dataclasses')

    @kw.dataclass
    class Base:
        a: int
        _: kw.KW_ONLY
        b: int = 2
        c: int = 3

    @kw.dataclass(frozen=True, repr=False)
    class Alone:
        name: str = kw.field(default='x', metadata={'m': 1})

    @kw.dataclass(extra_fields=[('x', int, kw.field(default=4))])
    class Sub(Base):
        d: int = 5
        b: int = 6
        y: int = kw.field(default=7, kw_only=True)

    return Base, Alone, Sub


def test_constructors_are_those_of_the_oracle():
    def run(lib):
        base, alone, sub = line_of_classes(lib)
        values = sorted(vars(sub(1, 9, x=10, c=11)).items())
        return (
            [parameters(cls) for cls in (base, alone)],
            sorted(parameters(sub)),
            parameters(sub)[:2],
            values,
            alone.__dataclass_params__.frozen,
            dataclasses.fields(alone)[0].metadata['m'],
            base(1) == base(1, b=2),
        )

    same(run)


def failure(cls, *args):
    with pytest.raises(TypeError, match=r'takes .* positional arguments') as caught:
        cls(*args)
    return type(caught.value)


def test_keyword_fields_are_refused_by_position():
    def refused(lib):
        base, _, sub = line_of_classes(lib)
        return [failure(base, 1, 2), failure(sub, 1, 2, 3, 4, 5)]

    same(refused)


def test_a_keyword_field_needs_no_default():
    @kw.dataclass
    class Named:
        name: str = kw.field(kw_only=True)

    @kw.dataclass(extra_fields=[('depth', int, 2)])
    class Net(Named):
        width: int

    assert Net(8, name='net') == Net(8, 2, name='net')
    with pytest.raises(TypeError, match="'name'"):
        Net(8)
