"""Rename the plan's identifier in the models to the name that the API uses; the column stays."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("trading", "0010_standard_terms")]

    operations = [
        migrations.AlterField(
            model_name="rebalancerun",
            name="plan_digest",
            field=models.CharField(max_length=64, blank=True, db_column="plan_digest"),
        ),
        migrations.RenameField(model_name="rebalancerun", old_name="plan_digest", new_name="plan_hash"),
    ]
