"""Start new policies with the usual commission of the broker. Policies that exist keep theirs."""

import accounts.usual_commission
import django.core.validators
import functools
from decimal import Decimal
from django.db import migrations, models


def correct_untouched_installation(apps, schema_editor):
    """Correct the default policy of a new installation: 0002 has made it, with a commission of 1 percent."""
    accounts, policies, changes = (
        apps.get_model("accounts", name).objects for name in ("Account", "RebalancePolicy", "HistoricalRebalancePolicy")
    )
    if not accounts.exists() and not changes.exists():
        policies.filter(is_default=True).update(commission_kind="per_share")


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0009_client_ids'),
    ]

    operations = [
        migrations.AlterField(
            model_name='historicalrebalancepolicy',
            name='commission_kind',
            field=models.CharField(choices=[('rate', 'Fraction of the order value'), ('per_share', 'Amount per share')], default=functools.partial(accounts.usual_commission.default_commission, *('kind',), **{}), help_text='How the broker charges commission.', max_length=9, verbose_name='commission type'),
        ),
        migrations.AlterField(
            model_name='historicalrebalancepolicy',
            name='commission_max_rate',
            field=models.DecimalField(decimal_places=6, default=functools.partial(accounts.usual_commission.default_commission, *('max_rate',), **{}), help_text='Maximum per order, for commission per share.', max_digits=16, validators=[django.core.validators.MinValueValidator(Decimal('0')), django.core.validators.MaxValueValidator(Decimal('0.2'))], verbose_name='maximum commission (fraction)'),
        ),
        migrations.AlterField(
            model_name='historicalrebalancepolicy',
            name='commission_minimum_usd',
            field=models.DecimalField(decimal_places=4, default=functools.partial(accounts.usual_commission.default_commission, *('min_per_order',), **{}), help_text='Minimum per order, for commission per share.', max_digits=16, validators=[django.core.validators.MinValueValidator(Decimal('0')), django.core.validators.MaxValueValidator(Decimal('100'))], verbose_name='minimum commission (USD)'),
        ),
        migrations.AlterField(
            model_name='historicalrebalancepolicy',
            name='commission_per_share_usd',
            field=models.DecimalField(decimal_places=6, default=functools.partial(accounts.usual_commission.default_commission, *('per_share',), **{}), help_text='For commission per share.', max_digits=16, validators=[django.core.validators.MinValueValidator(Decimal('0')), django.core.validators.MaxValueValidator(Decimal('10'))], verbose_name='commission per share (USD)'),
        ),
        migrations.AlterField(
            model_name='historicalrebalancepolicy',
            name='commission_rate',
            field=models.DecimalField(decimal_places=6, default=functools.partial(accounts.usual_commission.default_commission, *('rate',), **{}), help_text='Expected commission as a fraction of the order value.', max_digits=16, validators=[django.core.validators.MinValueValidator(Decimal('0')), django.core.validators.MaxValueValidator(Decimal('0.2'))], verbose_name='commission rate (fraction)'),
        ),
        migrations.AlterField(
            model_name='rebalancepolicy',
            name='commission_kind',
            field=models.CharField(choices=[('rate', 'Fraction of the order value'), ('per_share', 'Amount per share')], default=functools.partial(accounts.usual_commission.default_commission, *('kind',), **{}), help_text='How the broker charges commission.', max_length=9, verbose_name='commission type'),
        ),
        migrations.AlterField(
            model_name='rebalancepolicy',
            name='commission_max_rate',
            field=models.DecimalField(decimal_places=6, default=functools.partial(accounts.usual_commission.default_commission, *('max_rate',), **{}), help_text='Maximum per order, for commission per share.', max_digits=16, validators=[django.core.validators.MinValueValidator(Decimal('0')), django.core.validators.MaxValueValidator(Decimal('0.2'))], verbose_name='maximum commission (fraction)'),
        ),
        migrations.AlterField(
            model_name='rebalancepolicy',
            name='commission_minimum_usd',
            field=models.DecimalField(decimal_places=4, default=functools.partial(accounts.usual_commission.default_commission, *('min_per_order',), **{}), help_text='Minimum per order, for commission per share.', max_digits=16, validators=[django.core.validators.MinValueValidator(Decimal('0')), django.core.validators.MaxValueValidator(Decimal('100'))], verbose_name='minimum commission (USD)'),
        ),
        migrations.AlterField(
            model_name='rebalancepolicy',
            name='commission_per_share_usd',
            field=models.DecimalField(decimal_places=6, default=functools.partial(accounts.usual_commission.default_commission, *('per_share',), **{}), help_text='For commission per share.', max_digits=16, validators=[django.core.validators.MinValueValidator(Decimal('0')), django.core.validators.MaxValueValidator(Decimal('10'))], verbose_name='commission per share (USD)'),
        ),
        migrations.AlterField(
            model_name='rebalancepolicy',
            name='commission_rate',
            field=models.DecimalField(decimal_places=6, default=functools.partial(accounts.usual_commission.default_commission, *('rate',), **{}), help_text='Expected commission as a fraction of the order value.', max_digits=16, validators=[django.core.validators.MinValueValidator(Decimal('0')), django.core.validators.MaxValueValidator(Decimal('0.2'))], verbose_name='commission rate (fraction)'),
        ),
        migrations.RunPython(correct_untouched_installation, migrations.RunPython.noop),
    ]
