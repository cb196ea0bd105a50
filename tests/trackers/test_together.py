"""Frames side by side: in their order, few at a time, and errors come out."""

import threading
from collections.abc import Iterator

import pytest

from likeness.core.errors import BadInput
from likeness.trackers import together as module
from likeness.trackers.together import together


@pytest.fixture(params=[1, 2])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(module, "threads", lambda: request.param)
    return request.param


def test_results_come_in_the_order_of_items(workers: int) -> None:
    first = threading.Event()

    def work(item: int) -> int:
        if workers > 1 and item == 0:
            assert first.wait(10)  # the next one is done before
        if item == 1:
            first.set()
        return item * item

    assert list(together(work, range(20), "squaring")) == [i * i for i in range(20)]


def test_items_are_asked_for_as_results_are_taken(workers: int) -> None:
    asked = 0

    def items() -> Iterator[int]:
        nonlocal asked
        for i in range(1000):
            asked = i + 1
            yield i

    found = together(lambda i: i, items(), "counting", 1000)
    assert next(found) == 0
    assert asked <= 2 * workers + 1
    found.close()  # type: ignore[attr-defined]
    assert asked <= 2 * workers + 1


def test_an_error_in_a_frame_reaches_whoever_asked(workers: int) -> None:
    def work(item: int) -> int:
        if item == 3:
            raise BadInput("frame 3 is damaged")
        return item

    with pytest.raises(BadInput, match="frame 3"):
        list(together(work, range(10), "failing"))
