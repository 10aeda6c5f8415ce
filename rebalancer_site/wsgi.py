"""The web server's way in (gunicorn rebalancer_site.wsgi)."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rebalancer_site.settings")  # noqa: TID251 - before settings exist

application = get_wsgi_application()
