from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Accounts, strategies, replacement sets and policies."""

    name = "accounts"
