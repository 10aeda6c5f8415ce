"""Store the outcome of each run and the figures of its lists, and back-fill both for the runs that have ended."""

from django.db import migrations, models

REQUESTED_STOP = " requested a stop: no further orders."
ENDED = ("completed", "stopped", "failed", "refused", "deferred", "needs_attention")


def name_stop_requesters(apps, schema_editor):
    """Copy who stopped a run from its timeline to the run."""
    runs, entries = (apps.get_model("trading", name).objects for name in ("RebalanceRun", "TimelineEntry"))
    for run, message in entries.filter(code="stop_requested").values_list("run", "message").iterator(500):
        name = message.removesuffix(REQUESTED_STOP)[:150]
        runs.filter(pk=run, stop_requester_name="").update(stop_requester_name=name)


def decide_outcomes(apps, schema_editor):
    from trading.journal.missing_outcomes import BATCH, write_outcomes_of

    runs = apps.get_model("trading", "RebalanceRun").objects.filter(state__in=ENDED, outcome="")
    pks = list(runs.order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(pks), BATCH):
        write_outcomes_of(runs.filter(pk__in=pks[start : start + BATCH]))


class Migration(migrations.Migration):
    dependencies = [("trading", "0020_approval_inbox")]

    operations = [
        migrations.AddField(
            "rebalancerun",
            "outcome",
            models.CharField(
                blank=True,
                choices=[
                    ("nothing_to_do", "Nothing to trade"),
                    ("done", "Done"),
                    ("partly_done", "Partly done"),
                    ("stopped", "Stopped"),
                    ("refused", "Refused"),
                    ("deferred", "Deferred"),
                    ("failed", "Failed"),
                    ("needs_attention", "Needs attention"),
                ],
                db_default="",
                default="",
                max_length=16,
            ),
        ),
        migrations.AddField(
            "rebalancerun",
            "summary",
            models.JSONField(
                db_default=models.Value({}, models.JSONField()),
                default=dict,
                help_text="Figures of an ended run for lists: orders, amount, largest drift before and after.",
            ),
        ),
        migrations.AddField(
            "rebalancerun",
            "stop_requester_name",
            models.CharField(blank=True, db_default="", default="", max_length=150),
        ),
        migrations.AddIndex(
            "rebalancerun", models.Index(fields=["outcome", "-id"], name="run_by_outcome_newest")
        ),
        migrations.RunPython(name_stop_requesters, migrations.RunPython.noop),
        migrations.RunPython(decide_outcomes, migrations.RunPython.noop),
    ]
