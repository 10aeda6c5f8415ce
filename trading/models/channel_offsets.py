from django.db import models


class ChannelPosition(models.Model):
    """Time up to which all messages of a channel are stored; a listener continues from there."""

    channel = models.CharField(max_length=64, unique=True)
    known_from = models.DateTimeField(help_text="Messages published earlier are ignored.")
    caught_up_to = models.DateTimeField(help_text="All messages published until then are stored.")
    history_reach_seconds = models.PositiveIntegerField(
        default=120, help_text="Age of the oldest message that the service's history returned."
    )

    class Meta:
        ordering = ("channel",)
        verbose_name = "channel offset"

    def __str__(self) -> str:
        return self.channel
