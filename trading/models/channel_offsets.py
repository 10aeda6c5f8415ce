from django.db import models


class ChannelPosition(models.Model):
    """How far the messages of a channel are stored for certain; a listener goes on from there."""

    channel = models.CharField(max_length=64, unique=True)
    known_from = models.DateTimeField(help_text="What was published earlier is not ours to act on.")
    caught_up_to = models.DateTimeField(help_text="Everything published until then is stored.")
    history_reach_seconds = models.PositiveIntegerField(
        default=120, help_text="How far back the service's history was seen to reach."
    )

    class Meta:
        ordering = ("channel",)

    def __str__(self) -> str:
        return self.channel
