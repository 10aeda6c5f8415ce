"""Migrations that rename permissions, when the new permission is there already."""

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command

pytestmark = pytest.mark.django_db(transaction=True)

RENAMED = [
    ("0009", "settle_order", "resolve_order"),
    ("0011", "view_webhookdelivery", "view_delivery"),
]


@pytest.mark.parametrize(("before", "old", "new"), RENAMED)
def test_migrating_back_and_forth_keeps_one_permission_and_its_owners(before, old, new):
    """After each step Django creates the permissions of the current models, whatever the step was."""
    user = User.objects.create(username="trader")
    user.user_permissions.add(Permission.objects.get(codename=new))
    call_command("migrate", "trading", before, verbosity=0)
    assert set(Permission.objects.filter(codename__in=(old, new)).values_list("codename", flat=True)) == {old, new}
    call_command("migrate", verbosity=0)
    (permission,) = Permission.objects.filter(codename__in=(old, new))
    assert (permission.codename, list(permission.user_set.all())) == (new, [user])
    assert Group.objects.get(name="admin") in permission.group_set.all()
