from django.db import migrations

from brokers.simulated.universe import instruments


def make_instruments(apps, schema_editor):
    instrument = apps.get_model("simulated", "SimulatedInstrument")
    for fields in instruments():
        instrument.objects.get_or_create(symbol=fields["symbol"], defaults=fields)


class Migration(migrations.Migration):
    dependencies = [("simulated", "0001_initial")]
    operations = [migrations.RunPython(make_instruments, migrations.RunPython.noop)]
