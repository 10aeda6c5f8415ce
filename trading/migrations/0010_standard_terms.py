"""Rename stored codes and a permission to the terms that the documents use."""

from django.db import migrations

CODES = {
    "plan_anew": "account_changed",
    "run_is_alive": "run_not_finished",
    "run_is_closed": "run_already_closed",
    "order_is_settled": "order_already_resolved",
    "orders_not_settled": "orders_not_resolved",
    "slot_is_busy": "connection_busy",
    "finding_does_not_fit": "inconsistent_resolution",
    "settled_by_hand": "resolved_manually",
    "plan_digest_mismatch": "plan_hash_mismatch",
}
PERMISSION = ("settle_order", "resolve_order")


def rename(apps, codes, permission):
    """Write the new code in every row that holds an old one."""
    for model, field in (("RebalanceRun", "error_code"), ("TimelineEntry", "code")):
        rows = apps.get_model("trading", model).objects
        for old, new in codes.items():
            rows.filter(**{field: old}).update(**{field: new})
    old, new = permission
    permissions = apps.get_model("auth", "Permission").objects.filter(content_type__app_label="trading")
    permissions.filter(codename=old).update(codename=new)


def forwards(apps, schema_editor):
    rename(apps, CODES, PERMISSION)


def backwards(apps, schema_editor):
    rename(apps, {new: old for old, new in CODES.items()}, PERMISSION[::-1])


class Migration(migrations.Migration):
    dependencies = [
        ("trading", "0009_session_per_run_and_day"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="rebalancerun",
            options={
                "ordering": ("-id",),
                "permissions": (("resolve_order", "Can resolve orders manually and close runs"),),
            },
        ),
        migrations.RunPython(forwards, backwards),
    ]
