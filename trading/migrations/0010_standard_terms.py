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
OLD_PERMISSION = ("settle_order", "Can settle a run that needs attention")
NEW_PERMISSION = ("resolve_order", "Can resolve orders manually and close runs")


def rename_permission(apps, old, new, name):
    """Rename a permission. Where a migrate step has made the new one already, give its owners to it instead."""
    permissions = apps.get_model("auth", "Permission").objects.filter(content_type__app_label="trading")
    for row in permissions.filter(codename=old):
        existing = permissions.filter(codename=new).first()
        if existing is None:
            permissions.filter(pk=row.pk).update(codename=new, name=name)
            continue
        existing.group_set.add(*row.group_set.all())
        existing.user_set.add(*row.user_set.all())
        row.delete()


def rename_codes(apps, codes):
    """Write the new code in every row that holds an old one."""
    for model, field in (("RebalanceRun", "error_code"), ("TimelineEntry", "code")):
        rows = apps.get_model("trading", model).objects
        for old, new in codes.items():
            rows.filter(**{field: old}).update(**{field: new})


def forwards(apps, schema_editor):
    rename_codes(apps, CODES)
    rename_permission(apps, OLD_PERMISSION[0], *NEW_PERMISSION)


def backwards(apps, schema_editor):
    rename_codes(apps, {new: old for old, new in CODES.items()})
    rename_permission(apps, NEW_PERMISSION[0], *OLD_PERMISSION)


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
