"""Contract choices in the admin."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from trading.models import AuditEntry, ContractChoice, contract_choices

pytestmark = pytest.mark.django_db
ADDRESS = "admin:trading_contractchoice_add"


def member_of(group: str) -> User:
    """Return a user of one of the product's groups, who may enter the admin."""
    user = User.objects.create_user(group, is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    return user


def add(client: Client, user: User, **fields: str) -> Any:
    client.force_login(user)
    return client.post(reverse(ADDRESS), {"broker": "ibkr", "symbol": "KWEB", "contract_id": "117689013", **fields})


def test_choice_added_in_the_admin_applies_to_its_broker_and_is_audited(client: Client) -> None:
    assert add(client, member_of("admin")).status_code == 302
    assert contract_choices("ibkr") == {"KWEB": "117689013"}
    assert contract_choices("simulated") == {}
    assert AuditEntry.objects.filter(action="contract choice added", person="admin").exists()


@pytest.mark.parametrize(
    "fields", [{"broker": "nobody"}, {"symbol": "kweb"}, {"contract_id": ""}], ids=lambda fields: next(iter(fields))
)
def test_choice_with_an_invalid_field_is_not_stored(client: Client, fields: dict[str, str]) -> None:
    assert add(client, member_of("admin"), **fields).status_code == 200
    assert not ContractChoice.objects.exists()


def test_choice_cannot_be_added_by_a_trader(client: Client) -> None:
    assert add(client, member_of("trader")).status_code == 403
    assert not ContractChoice.objects.exists()
