import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


def keep_what_is_known(apps, schema_editor):
    """Keep value, cash and weights. The drift of a plan is not one of today, and its settings are not recorded."""
    apps.get_model("trading", "AccountStanding").objects.update(
        reason_code="never_compared",
        reason="The account has not been compared with its targets yet.",
        largest_drift_percent=None,
    )


class Migration(migrations.Migration):

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ('accounts', '0009_client_ids'),
        ('trading', '0017_access_protection'),
    ]

    operations = [
        migrations.AlterField(
            model_name='accountstanding',
            name='is_outside',
            field=models.BooleanField(db_default=False, default=False, help_text='Outside the drift band, with trades to make.', verbose_name='outside its band'),
        ),
        migrations.RemoveIndex(
            model_name='accountstanding',
            name='standing_worst_first',
        ),
        # The column keeps its name: processes of the version before write it during an upgrade.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name='accountstanding',
                    name='seen_at',
                    field=models.DateTimeField(db_column='seen_at', help_text='Time at which value, cash and positions were read, and the drift applies.'),
                ),
                migrations.RenameField(model_name='accountstanding', old_name='seen_at', new_name='as_of'),
            ],
        ),
        migrations.AlterModelOptions(
            name='accountstanding',
            options={'ordering': ('account',), 'verbose_name': 'account status', 'verbose_name_plural': 'account statuses'},
        ),
        migrations.AddField(
            model_name='accountstanding',
            name='state',
            field=models.CharField(choices=[('inside', 'Inside the band'), ('outside', 'Outside the band'), ('unknown', 'Not checked yet'), ('void', 'Changed since the last check')], db_default='unknown', default='unknown', max_length=7),
        ),
        migrations.AddField(
            model_name='accountstanding',
            name='reason_code',
            field=models.CharField(blank=True, db_default='', default='', max_length=48),
        ),
        migrations.AddField(
            model_name='accountstanding',
            name='reason',
            field=models.TextField(blank=True, db_default='', default='', help_text='Why the account has this state.'),
        ),
        migrations.AddField(
            model_name='accountstanding',
            name='changed_at',
            field=models.DateTimeField(blank=True, help_text='Time since when the comparison is void, because its settings changed.', null=True),
        ),
        migrations.AlterField(
            model_name='accountstanding',
            name='largest_drift_percent',
            field=models.DecimalField(blank=True, decimal_places=6, help_text='Largest drift of a symbol or of cash, in percentage points. Empty while unknown or void.', max_digits=12, null=True),
        ),
        migrations.AddField(
            model_name='accountstanding',
            name='band_percent',
            field=models.DecimalField(blank=True, decimal_places=4, help_text='Drift band of the comparison.', max_digits=16, null=True),
        ),
        migrations.AlterField(
            model_name='accountstanding',
            name='weights',
            field=models.JSONField(default=list, help_text='Symbols with their weights, largest first, cash last.'),
        ),
        migrations.AddField(
            model_name='accountstanding',
            name='target_weights',
            field=models.JSONField(blank=True, help_text='Target weights of the comparison, by symbol.', null=True),
        ),
        migrations.AddField(
            model_name='accountstanding',
            name='snapshot',
            field=models.JSONField(blank=True, help_text='Positions that the comparison was made from.', null=True),
        ),
        migrations.AddField(
            model_name='accountstanding',
            name='basis',
            field=models.JSONField(blank=True, help_text='Digests of the settings of the comparison.', null=True),
        ),
        migrations.CreateModel(
            name='AccountRefresh',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('requested_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('finished_at', models.DateTimeField(blank=True, help_text='Empty while the account is being read.', null=True)),
                ('error_code', models.CharField(blank=True, max_length=48)),
                ('error_message', models.TextField(blank=True)),
                ('account', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='refresh', to='accounts.account')),
                ('requested_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ('-requested_at',),
            },
        ),
        migrations.RunPython(keep_what_is_known, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name='accountstanding',
            index=models.Index(fields=['state', '-largest_drift_percent'], name='standing_by_state'),
        ),
        # The column stays: processes of the version before may still write it during an upgrade.
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.RemoveField(model_name='accountstanding', name='is_outside')],
        ),
    ]
