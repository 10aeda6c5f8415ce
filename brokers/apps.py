from django.apps import AppConfig


class BrokersConfig(AppConfig):
    """The broker layer: values, errors, registry. It has no models of its own."""

    name = "brokers"
