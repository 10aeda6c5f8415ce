from django.apps import AppConfig


class BrokersConfig(AppConfig):
    """The broker layer: types, errors and registry. It has no models."""

    name = "brokers"
