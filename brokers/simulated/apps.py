from django.apps import AppConfig


class SimulatedConfig(AppConfig):
    """The simulated broker: a full connector whose account records are in the database."""

    name = "brokers.simulated"
    label = "simulated"
    verbose_name = "Simulated broker"
