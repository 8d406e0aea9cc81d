"""Writes the golden files anew: ``python -m tests.golden.make``.

By hand, and on purpose only: a number that changes is a change that users see.
"""

from __future__ import annotations

from tests.golden import cases


def main() -> None:
    cases.DATA.mkdir(exist_ok=True)
    for old in cases.DATA.glob('*.msgpack'):
        old.unlink()
    for name in cases.CASES:
        variables = cases.init(name)
        cases.write(name, {'variables': variables, **cases.apply(name, variables)})
    cases.write('masks', cases.masks())
    cases.write('jax', cases.drawn_by_jax())
    sizes = [path.stat().st_size for path in cases.DATA.glob('*.msgpack')]
    print(f'{len(sizes)} files, {sum(sizes)} bytes, the largest {max(sizes)}')


if __name__ == '__main__':
    main()
