from django.db import migrations


def make_default_policy(apps, schema_editor):
    apps.get_model("accounts", "RebalancePolicy").objects.get_or_create(is_default=True, defaults={"name": "default"})


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [migrations.RunPython(make_default_policy, migrations.RunPython.noop)]
