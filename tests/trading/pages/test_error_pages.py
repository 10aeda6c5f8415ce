"""The pages of errors: the look of the site, no inline style, no database."""

import gzip
import re

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection
from django.test import Client
from django.urls import reverse
from pydantic import SecretStr

from tests.support.makers import queue, simulated_account, strategy
from trading.pages import error_pages

pytestmark = pytest.mark.django_db
INLINE = re.compile(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=")


def code_of(answer):
    """The code of an error page, which must keep to the content security policy."""
    text = answer.content.decode()
    assert not INLINE.search(text)
    assert "unsafe" not in answer["Content-Security-Policy"] and answer["Cache-Control"] == "no-store"
    return re.search(r'id="error" data-code="(\w+)"', text).group(1)


@pytest.fixture
def boss(client):
    client.force_login(User.objects.create_superuser("boss"))
    return client


@pytest.mark.parametrize("address", ["/nothing/", "/runs/nothing/", "/admin/nothing/", "/accounts/%00/"])
def test_an_unknown_address_gets_the_page_of_the_site(boss, address):
    answer = boss.get(address)
    assert (answer.status_code, code_of(answer)) == (404, "not_found")


def test_an_unknown_address_gets_the_page_without_a_login(client):
    assert code_of(client.get("/nothing/")) == "not_found"


def test_a_page_of_the_admin_without_permission_gets_the_page_of_the_site(client):
    client.force_login(User.objects.create_user("vera", is_staff=True))
    answer = client.get("/admin/auth/user/")
    assert (answer.status_code, code_of(answer)) == (403, "not_permitted")


@pytest.mark.parametrize("referrer", ["", "http://testserver{address}", "http://testserver/admin/login/?next=x"])
def test_opening_an_address_for_forms_leads_to_its_page(boss, referrer):
    run = queue(simulated_account("U1", {"SPY": "1"}))
    address = reverse("trading:execute", args=[run.run_id])
    answer = boss.get(address, headers={"referer": referrer.format(address=address)})
    assert (answer.status_code, answer["Allow"], code_of(answer)) == (405, "POST", "method_not_allowed")
    assert f'href="{reverse("trading:run", args=[run.run_id])}"' in answer.content.decode()


def test_a_login_with_the_form_of_another_tab_gets_the_page(client):
    answer = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "a", "password": "b"})
    assert (answer.status_code, code_of(answer)) == (403, "form_outdated")


def test_without_a_database_the_page_still_renders(boss):
    def away(*_):
        raise DatabaseError("the database is away")

    boss.raise_request_exception = False
    with connection.execute_wrapper(away):
        answer = boss.get("/")
    assert (answer.status_code, code_of(answer)) == (500, "internal_error")


@pytest.mark.parametrize(
    ("method", "address", "status", "code"),
    [("get", "/api/nothing", 404, "not_found"), ("put", "/api/runs", 405, "method_not_allowed")],
)
def test_the_api_keeps_its_json(client, method, address, status, code):
    answer = getattr(client, method)(address)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_pages_and_files_are_compressed_for_who_accepts_it(boss):
    run = queue(simulated_account("U1", {"SPY": "1"}))
    for address in ("/", reverse("trading:run_json", args=[run.run_id])):
        plain, compressed = boss.get(address), boss.get(address, headers={"accept-encoding": "gzip, br"})
        assert compressed["Content-Encoding"] == "gzip" and "Content-Encoding" not in plain
        assert int(compressed["Content-Length"]) == len(compressed.content) < len(plain.content)


def test_a_secret_is_taken_out_before_a_page_is_compressed(boss, settings):
    settings.ALLOCATIONS_API_KEY = SecretStr("canary-allocations-key")
    strategy("blend", {"SPY": "1"}, title="canary-allocations-key")
    page = gzip.decompress(boss.get("/strategies/", headers={"accept-encoding": "gzip"}).content)
    assert b"[redacted]" in page and b"canary-allocations-key" not in page


def test_an_error_page_that_cannot_be_rendered_is_plain_text(client, monkeypatch):
    def fail(*_):
        raise ValueError("Missing staticfiles manifest entry")

    monkeypatch.setattr(error_pages, "render_to_string", fail)
    answer = client.get("/nothing/")
    assert (answer.status_code, answer["Content-Type"]) == (404, "text/plain; charset=utf-8")
