"""Django's own list of what a production site should have, asked with the environment of one."""

import json
import secrets
from contextlib import closing

import pytest

from tests.support.installation import Installation

pytestmark = pytest.mark.process
PRODUCTION = {"ALLOWED_HOSTS": "rebalancer.example.com", "MARKET_CALENDAR": "XNYS", "PROXY_COUNT": "1"}
ASK = """
import json
from django.conf import settings
names = ("SECURE_SSL_REDIRECT", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_HSTS_SECONDS")
print(json.dumps([bool(getattr(settings, name)) for name in names]))
"""


def installation(tmp_path, **environment):
    return Installation(
        tmp_path, f"sqlite:///{tmp_path}/site.sqlite3", SECRET_KEY=secrets.token_urlsafe(64), **environment
    )


def test_no_warning_with_the_environment_of_production(tmp_path):
    done = installation(tmp_path, **PRODUCTION).manage("check", "--deploy", "--fail-level", "WARNING")
    assert "WARNINGS" not in done.stdout + done.stderr
    assert "no issues" in done.stdout


@pytest.mark.parametrize(
    ("environment", "https"),
    [
        (PRODUCTION, True),
        ({}, False),
        ({"ALLOWED_HOSTS": "localhost,127.0.0.1"}, False),
        ({"ALLOWED_HOSTS": "localhost", "HTTPS": "true"}, True),
        ({"ALLOWED_HOSTS": "rebalancer.lan", "HTTPS": "false"}, False),
    ],
)
def test_https_is_on_unless_the_site_is_for_this_machine_only(tmp_path, environment, https):
    with closing(installation(tmp_path, **environment)) as site:
        assert json.loads(site.python(ASK)) == [https] * 4


def test_cookies_of_an_https_site_are_bound_to_the_host(tmp_path):
    ask = "from django.conf import settings as s; print([getattr(s, f'{kind}_COOKIE_{what}') for kind in ('SESSION', 'CSRF') for what in ('NAME', 'SECURE', 'HTTPONLY', 'PATH', 'DOMAIN')])"
    with closing(installation(tmp_path, **PRODUCTION)) as site:
        assert site.python(ask).strip() == str(
            ["__Host-sessionid", True, True, "/", None, "__Host-csrftoken", True, True, "/", None]
        )
