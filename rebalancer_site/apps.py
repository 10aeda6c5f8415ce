from django.apps import AppConfig


class SiteConfig(AppConfig):
    """The shell of the site: settings, addresses, and the frame that all pages share."""

    name = "rebalancer_site"
    label = "rebalancer_site"
