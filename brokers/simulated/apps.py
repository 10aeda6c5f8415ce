from django.apps import AppConfig


class SimulatedConfig(AppConfig):
    """The simulated broker: a real connector whose books are in the database."""

    name = "brokers.simulated"
    label = "simulated"
    verbose_name = "Simulated broker"
