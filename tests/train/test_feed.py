"""The feed: any iterable, epochs, groups, and going on in the middle."""

from __future__ import annotations

import json

import numpy as np
import pytest

from linnet.errors import BatchError, EmptyDataError
from linnet.train.feed import Feed, Position, as_arrays


def ones(*sizes):
    return [np.ones(size) for size in sizes]


def sizes(feed, start=Position()):
    return [[len(batch) for batch in group.batches] for group in feed.epoch(start)]


def test_groups_hold_batches_of_one_shape():
    assert sizes(Feed(ones(4, 4, 4, 2, 2, 4), most=2)) == [[4, 4], [4], [2, 2], [4]]


def test_positions_lead_to_the_same_groups():
    feed = Feed(ones(4, 4, 4, 2, 2, 4), most=2)
    groups = list(feed.epoch(Position()))
    assert [group.position.batch for group in groups] == [2, 3, 5, 6]
    for number, group in enumerate(groups):
        assert sizes(feed, group.position) == sizes(feed)[number + 1 :]


def test_a_function_gives_each_epoch_its_batches():
    feed = Feed(lambda epoch: iter(ones(epoch + 1)))
    assert sizes(feed, Position(0)) == [[1]]
    assert sizes(feed, Position(4)) == [[5]]


def test_a_generator_keeps_the_batch_that_was_looked_at():
    feed = Feed(batch for batch in ones(3, 3))
    assert len(feed.first()) == 3
    assert sizes(feed) == [[3], [3]]
    with pytest.raises(EmptyDataError, match='no batch in epoch 2'):
        sizes(feed, Position(1))


class Iterator:
    """An iterator that can be set to a place, as Grain's."""

    def __init__(self):
        self.place = 0
        self.asked = 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.place == 3:
            raise StopIteration
        self.place += 1
        self.asked += 1
        return np.full(2, self.place)

    def get_state(self):
        return {'place': self.place}

    def set_state(self, state):
        self.place = state['place']


def test_an_iterator_with_a_state_is_set_to_it():
    made = []

    def data(epoch):
        made.append(Iterator())
        return made[-1]

    groups = list(Feed(data).epoch(Position()))
    assert [group.position.iterator for group in groups] == [{'place': n} for n in (1, 2, 3)]
    rest = list(Feed(data).epoch(groups[1].position))
    assert [group.batches[0].tolist() for group in rest] == [[3, 3]]
    assert made[-1].asked == 1


@pytest.mark.parametrize('state', [None, {'place': 3}, b'\x00\xff'])
def test_a_position_goes_through_json(state):
    position = Position(2, 5, state)
    assert Position.from_json(json.loads(json.dumps(position.to_json()))) == position


class Tensor:
    """An array of another library."""

    def __array__(self, dtype=None, copy=None):
        return np.ones(2, np.float32)


def test_arrays_of_other_libraries_become_numpy_arrays():
    batch = as_arrays({'x': Tensor(), 'n': 3})
    assert isinstance(batch['x'], np.ndarray)
    assert batch['n'] == 3


@pytest.mark.parametrize(
    ('data', 'error', 'words'),
    [
        ([], EmptyDataError, 'no batch in epoch 1'),
        (3, BatchError, 'data is the int 3, which cannot be gone through'),
        (lambda epoch: None, BatchError, 'data is None'),
        ([{'x': np.ones(2)}, {'y': np.ones(2)}], BatchError, r"{'y': 'float64\[1d\]'}; the first"),
        ([np.ones(2), np.ones(2, np.float32)], BatchError, 'float32'),
        ([np.ones(2), np.ones((2, 2))], BatchError, r'float64\[2d\]'),
        ([{'text': 'good'}], BatchError, "text is the str 'good', which is no array of numbers"),
    ],
)
def test_data_that_is_no_data(data, error, words):
    with pytest.raises(error, match=words):
        sizes(Feed(data))


def test_the_first_of_nothing():
    with pytest.raises(EmptyDataError, match='epoch 1'):
        Feed([]).first()


def test_a_run_goes_on_with_as_much_data():
    with pytest.raises(EmptyDataError, match='epoch 1 has 2 batches, 5 were done'):
        sizes(Feed(ones(3, 3)), Position(0, 5))
