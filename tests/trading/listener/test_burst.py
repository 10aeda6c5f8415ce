"""A burst of a thousand events: all are stored, the last one is queued, and pages respond in the meantime."""

import pytest
from django.urls import reverse

from tests.support.listening import QUICK, Listening, eventually
from tests.trading.listener.conftest import REBALANCE
from trading.models import RebalanceRun, StrategyEvent

FRAMES, A_FRAME = 20, 50


@pytest.mark.one_database
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_burst_is_stored_completely_while_pages_respond(ably, blend, inbox, admin_client):
    stored = StrategyEvent.objects.filter(channel="blend")
    pages = ("trading:dashboard", "trading:events")
    answers = []
    with Listening(ably, QUICK.model_copy(update={"reconcile": 5})) as listener:
        listener.until_attached("blend")
        ids = [one for _ in range(FRAMES) for one in ably.publish_batch("blend", [{"data": REBALANCE}] * A_FRAME)]
        while (there := stored.count()) < len(ids):
            answers += [admin_client.get(reverse(page)).status_code for page in pages]
            answers.append(admin_client.get("/healthz").json()["database"])
            eventually(lambda there=there: stored.count() >= min(there + 100, len(ids)), "Progress", seconds=60)
    assert len(answers) >= 9, "the burst ended before a page was requested"
    assert set(answers) == {200, "ok"}
    events = inbox(*ids)
    assert {(event.state, event.duplicates) for event in events} == {("accepted", 0)}
    assert [event.message_id for event in sorted(events, key=lambda event: event.order)] == ids
    run = RebalanceRun.objects.get(state="queued")
    assert run.event.message_id == ids[-1]
    assert RebalanceRun.objects.filter(state="superseded").count() == len(ids) - 1
