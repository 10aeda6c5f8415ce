"""The gate of orders: first the turn at the broker, then the check, then the order, one order at a time."""

import asyncio

import pytest

from brokers.exceptions import BrokerSilent
from trading.errors import Refused, TradingError
from trading.orders.gate import OrderGate


class Broker:
    """Grants the turns one by one, when `turns` is set, and notes what happens in `events`."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.turns = asyncio.Event()
        self.error: BrokerSilent | None = None

    async def wait_for_turn(self) -> None:
        await self.turns.wait()
        if self.error is not None:
            raise self.error
        self.events.append("turn")

    async def place(self) -> str:
        self.events.append("sent")
        await asyncio.sleep(0.01)  # the acknowledgement
        return "acknowledged"


class Journal:
    """A lease that is always valid."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def check_lease(self) -> None:
        self._broker.events.append("lease")


class Rules:
    """A check that refuses once `refusal` is set."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.refusal: TradingError | None = None
        self.asked: list[bool] = []

    async def check(self, has_sent: bool) -> None:
        self.asked.append(has_sent)
        await asyncio.sleep(0)
        self._broker.events.append("check")
        if self.refusal is not None:
            raise self.refusal


def gates(broker: Broker, rules: Rules, number: int = 1) -> list[OrderGate]:
    turn = asyncio.Lock()
    return [OrderGate(broker, turn, Journal(broker), rules.check, has_sent=False) for _ in range(number)]


async def send(gate: OrderGate, broker: Broker) -> str | None:
    sending = await gate.send("U1", broker.place)
    return None if sending is None else await sending


def test_gate_checks_each_order_after_its_turn_and_sends_it_before_the_next_is_checked():
    async def run() -> None:
        broker = Broker()
        broker.turns.set()
        rules = Rules(broker)
        one, other = gates(broker, rules, 2)
        answers = await asyncio.gather(*(send(gate, broker) for gate in (one, other, one, other)))
        assert answers == ["acknowledged"] * 4
        assert broker.events == ["turn", "lease", "check", "sent"] * 4
        assert rules.asked == [False, False, True, True], "has_sent is known for each run"

    asyncio.run(run())


def test_gate_obeys_what_changes_while_an_order_waits_for_its_turn():
    async def run() -> None:
        broker = Broker()
        rules = Rules(broker)
        (gate,) = gates(broker, rules)
        waiting = [asyncio.create_task(send(gate, broker)) for _ in range(3)]
        await asyncio.sleep(0)
        rules.refusal = Refused("trading_paused", "Trading is paused.")
        broker.turns.set()
        assert await asyncio.gather(*waiting) == [None] * 3
        assert (gate.refusal, gate.has_sent) == (rules.refusal, False)
        assert rules.asked == [False], "after the first refusal, nothing of the run is asked again"

    asyncio.run(run())


def test_gate_stays_closed_when_the_reason_is_gone():
    async def run() -> None:
        broker = Broker()
        broker.turns.set()
        rules = Rules(broker)
        (gate,) = gates(broker, rules)
        gate.close(Refused("run_stopped", "A user stopped the run."))
        assert await send(gate, broker) is None
        assert not await gate.is_open()
        assert rules.asked == []

    asyncio.run(run())


def test_gate_without_a_turn_in_time_sends_no_order_of_the_run():
    async def run() -> None:
        broker = Broker()
        broker.turns.set()
        broker.error = BrokerSilent("No room for an order in time.")
        (gate,) = gates(broker, Rules(broker))
        with pytest.raises(BrokerSilent):
            await send(gate, broker)
        assert await send(gate, broker) is None, "it does not wait for the same error again"
        assert broker.events == []

    asyncio.run(run())
