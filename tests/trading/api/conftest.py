"""A caller with a token of a person with rights."""

import json

import pytest
from django.contrib.auth.models import Permission, User

from trading.access.api_tokens import create_token
from trading.models import ApiScope

PERMISSIONS = ("view_account", "preview_account", "execute_account", "execute_live_account")


class Caller:
    """Calls the API as a program does."""

    def __init__(self, client, token):
        self.client = client
        self.headers = {"authorization": f"Bearer {token}"} if token else {}

    def get(self, path, **query):
        return self._read(self.client.get(f"/api{path}", query, headers=self.headers))

    def post(self, path, body=None):
        return self._read(
            self.client.post(
                f"/api{path}", json.dumps(body or {}), content_type="application/json", headers=self.headers
            )
        )

    @staticmethod
    def _read(answer):
        assert answer["Content-Type"].startswith("application/json"), answer.content
        return answer.status_code, answer.json()


@pytest.fixture
def owner(db):
    person = User.objects.create(username="robot")
    person.user_permissions.set(Permission.objects.filter(codename__in=PERMISSIONS))
    return person


@pytest.fixture
def call(client, owner):
    """Makes callers: `call()` may everything, `call("read")` has one scope."""

    def make(*scopes, token=None):
        if token is None:
            token = create_token("test", owner, scopes or list(ApiScope), days=1)[1]
        return Caller(client, token)

    return make
