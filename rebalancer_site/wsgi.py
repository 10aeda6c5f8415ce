"""WSGI application (gunicorn rebalancer_site.wsgi)."""

import os

from django.core.wsgi import get_wsgi_application

from rebalancer_site.request_body import BodyReader

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rebalancer_site.settings")  # noqa: TID251 - the settings do not exist yet

application = BodyReader(get_wsgi_application())
