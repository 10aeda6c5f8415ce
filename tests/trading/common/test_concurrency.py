"""Steps that go on at the same time: what they return, and what a failure does to the others."""

import asyncio

import pytest

from trading.common.concurrency import run_concurrently


async def give(value):
    await asyncio.sleep(0)
    return value


def test_what_the_steps_return_comes_in_their_order():
    assert asyncio.run(run_concurrently(give(1), give("two"))) == (1, "two")
    assert asyncio.run(run_concurrently()) == ()


def test_a_failure_ends_the_others_before_it_is_passed_on():
    over = []

    async def waits_for_ever():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # what it has to put away is waited for
            over.append("ended")

    async def fails():
        await asyncio.sleep(0)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(run_concurrently(waits_for_ever(), fails()))
    assert over == ["ended"]
