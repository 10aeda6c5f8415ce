"""The API against its own description: whatever is sent, it answers as it says, and never breaks."""

from collections import Counter

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.makers import carry_out, policy, queue
from trading.access.api_tokens import create_token
from trading.models import ApiScope, StrategyEvent
from trading.models.run_documents import ExecCommand

pytestmark = pytest.mark.one_database
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 8
bounded = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)

schema = schemathesis.openapi.from_wsgi("/api/openapi.json", get_wsgi_application())


SCOPES = {"preview": "preview", "execute": "execute", "decline": "approve", "stop": "execute", "submit_event": "events"}
"""Of the calls that do something; the others read."""


def operations():
    """Every call by its name; those that act on a run first, before newer previews make its plan outdated."""
    found = {one.ok().definition.raw["operationId"]: one.ok() for one in schema.get_all_operations()}
    return sorted(found.items(), key=lambda call: (call[0] not in {"decline", "execute", "stop"}, call[0]))


def for_examples(operation, look, examples=EXAMPLES):
    """Looks at so many examples of a call, each with a source of further choices."""

    def one(case, data):
        look(case, data)

    settings(bounded, max_examples=examples)(given(case=operation.as_strategy(), data=st.data())(one))()


@pytest.fixture
def make(owner, settings):
    """Makes tokens of scopes, for calls whose end does not close the connection of the test."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    settings.API_REQUESTS_PER_MINUTE = 100_000
    yield lambda *scopes: create_token("schema", owner, scopes, days=1)[1]
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def send(case, token=""):
    """Calls, compares the answer with the description, and returns its status and code."""
    headers = {"Accept-Encoding": "identity"}  # in process, nothing decompresses the answer
    if token:
        headers["Authorization"] = f"Bearer {token}"
    answer = case.call_and_validate(headers=headers, checks=CHECKS)
    return answer.status_code, answer.json().get("code")


@pytest.mark.django_db
@schema.parametrize()
@bounded
def test_every_call_answers_as_it_is_described(case, make):
    send(case, make(*ApiScope))


@pytest.fixture
def there(make_account):
    """Words of what is there: an account, its strategy, a preview, a run that was carried out, one that is held."""
    account = make_account(positions={"VTI": "50"})
    preview = carry_out(account, ExecCommand.PRINT_REBALANCE)
    held = carry_out(make_account("U2", policy=policy("held", max_turnover_percent=1), positions={"GLD": "100"}))
    assert (preview.state, held.error_code) == ("completed", "turnover_limit")
    done, waiting = carry_out(make_account("U3")), queue(make_account("U4"))
    return {
        "account_id": [account.account_id, "U2"],
        "name": [account.strategy.name],
        "run_id": [preview.run_id, held.run_id, done.run_id, waiting.run_id],
        "event_id": [StrategyEvent.objects.first().pk],
        "channel": [account.strategy.name],
        "plans": {run.run_id: run.plan_hash for run in (preview, held, done)},
        "payload": [{"exec": "rebalance"}, {"exec": "print-rebalance"}, {"exec": "rebalance", "account_id": "U1"}],
    }


def test_with_what_is_there_every_call_comes_to_its_end(there, make):
    """Examples whose words are words of real rows: they reach what is behind *unknown*."""
    token, answers = make(*ApiScope), {}
    assert execute(there["run_id"][0], "0" * 64, token) == (409, "plan_hash_mismatch")
    for name, operation in operations():
        counted = answers[name] = Counter()
        if name == "execute":  # not left to chance: once a plan is executed, its hash is not compared again
            unread = {"path_parameters": {"run_id": there["run_id"][0]}, "body": {"plan_hash": "0" * 64}}
            counted.update([send(operation.Case(**unread, media_type="application/json"), token)])
        for_examples(operation, lambda case, data: counted.update([send(said(case, data, there), token)]))  # noqa: B023
    wanted = {name: 202 if name in SCOPES.keys() - {"decline"} else 200 for name in answers}
    assert {name: status for name, status in wanted.items() if (status, None) not in answers[name]} == {}, answers


def execute(run_id, plan_hash, token):
    """Approve a plan, and return status and code."""
    response = Client().post(
        f"/api/runs/{run_id}/execute",
        {"plan_hash": plan_hash},
        content_type="application/json",
        headers={"authorization": f"Bearer {token}"},
    )
    return response.status_code, response.json().get("code")


def said(case, data, there):
    """The case, with words of real rows in the place of those that were made up."""
    for words in (case.path_parameters, case.body):
        if isinstance(words, dict):
            for name in sorted(words.keys() & there.keys()):
                words[name] = data.draw(st.sampled_from(there[name]))
    if isinstance(case.body, dict) and "plan_hash" in case.body:
        right = there["plans"].get(case.path_parameters["run_id"], "1" * 64)
        case.body["plan_hash"] = data.draw(st.sampled_from([right, right, "0" * 64]))
    return case


@pytest.mark.django_db
def test_no_call_lets_in_who_has_no_token_or_no_scope(make):
    without = {scope: make(*(set(ApiScope) - {scope})) for scope in ApiScope}
    seen = Counter()
    for name, operation in operations():
        token = without[SCOPES.get(name, "read")]
        for_examples(operation, lambda case, _: seen.update([send(case), send(case, token)]), 1)  # noqa: B023
    assert seen == dict.fromkeys([(401, "token_invalid"), (403, "scope_missing")], len(operations()))


def test_the_description_is_public_and_names_every_call(client):
    paths = client.get("/api/openapi.json").json()["paths"]
    assert len(paths) == 14
    assert client.get("/api/docs").status_code == 404
