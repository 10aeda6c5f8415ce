from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class SiteConfig(AppConfig):
    """Settings, URLs and the base template of all pages."""

    name = "rebalancer_site"


class ProtectedAdminConfig(AdminConfig):
    """The admin, whose site protects changes that disarm safety."""

    default_site = "trading.pages.protected_admin.ProtectedAdminSite"
