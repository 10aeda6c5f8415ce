"""Concurrent steps: their results, and the effect of a failure on the others."""

import asyncio

import pytest

from trading.common.concurrency import run_concurrently


async def give(value):
    await asyncio.sleep(0)
    return value


def test_run_concurrently_returns_results_in_order():
    assert asyncio.run(run_concurrently(give(1), give("two"))) == (1, "two")
    assert asyncio.run(run_concurrently()) == ()


def test_run_concurrently_with_a_failure_ends_the_others_first():
    ended = []

    async def waits_forever():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # its cleanup is awaited
            ended.append("ended")

    async def fails():
        await asyncio.sleep(0)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(run_concurrently(waits_forever(), fails()))
    assert ended == ["ended"]
