from django.apps import AppConfig


class SiteConfig(AppConfig):
    """Settings, URLs and the base template of all pages."""

    name = "rebalancer_site"
