"""Ids are never given twice, from any thread; a copy is a new id, a pickle the same."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

from linnet import ids


def test_ids_differ_in_any_thread():
    manager = ids.UUIDManager()
    with ThreadPoolExecutor(4) as pool:
        many = list(pool.map(lambda _: manager(), range(400)))
    assert len(set(many)) == 400
    assert sorted(x.id for x in many) == list(range(1, 401))


def test_a_copy_is_a_new_id_and_a_pickle_the_same():
    one = ids.uuid()
    assert len({one, copy.copy(one), copy.deepcopy(one)}) == 3
    assert pickle.loads(pickle.dumps(one)) == one
    assert one != one.id
    assert repr(ids.FlaxId(3)) == 'FlaxId(3)'
