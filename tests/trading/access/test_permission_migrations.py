"""Migrations that rename permissions, when the new permission is there already."""

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE = "0009"
RENAMED_LATER = {"settle_order": "resolve_order", "view_webhookdelivery": "view_delivery"}


@pytest.mark.slow
def test_migrating_back_and_forth_keeps_one_permission_and_its_owners():
    """After each step Django creates the permissions of the current models, whatever the step was."""
    user = User.objects.create(username="trader")
    user.user_permissions.set(Permission.objects.filter(codename__in=RENAMED_LATER.values()))
    both = Permission.objects.filter(codename__in=[*RENAMED_LATER, *RENAMED_LATER.values()])
    call_command("migrate", "trading", BEFORE, verbosity=0)
    assert {permission.codename for permission in both} == {*RENAMED_LATER, *RENAMED_LATER.values()}
    call_command("migrate", verbosity=0)
    assert sorted(permission.codename for permission in both.all()) == sorted(RENAMED_LATER.values())
    for permission in both.all():
        assert list(permission.user_set.all()) == [user]
        assert Group.objects.get(name="admin") in permission.group_set.all()
