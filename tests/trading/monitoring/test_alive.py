"""The health checks of containers pass and fail for the right reasons."""

import socket
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from trading import tasks
from trading.models import ProcessHeartbeat
from trading.schedule.sweeper import record_heartbeat

pytestmark = pytest.mark.django_db
HOST = socket.gethostname()


@pytest.mark.parametrize("kind", ["worker", "listener"])
def test_a_process_of_this_host_is_alive_while_it_shows_signs(kind, capsys):
    record_heartbeat(f"{kind}:{HOST}:17", kind)
    call_command("alive", kind)
    assert f"The {kind} of {HOST} is well." in capsys.readouterr().out
    ProcessHeartbeat.objects.update(at=timezone.now() - timedelta(minutes=5))
    with pytest.raises(CommandError, match="No "):
        call_command("alive", kind)


def test_plain_qcluster_shows_a_sign_with_each_of_its_sweeps(client):
    assert client.get("/healthz").status_code == 503
    tasks.sweep()
    for minutes, status in ((2, 200), (4, 503)):
        ProcessHeartbeat.objects.update(at=timezone.now() - timedelta(minutes=minutes))
        answer = client.get("/healthz")
        assert (answer.status_code, answer.json()["listener"]) == (status, "not configured")


def test_the_worker_of_another_host_does_not_count():
    record_heartbeat("worker:another-host:17", "worker")
    record_heartbeat(f"listener:{HOST}:18", "listener")
    with pytest.raises(CommandError, match="No worker of"):
        call_command("alive", "worker")


@pytest.mark.django_db(transaction=True)
def test_a_site_without_workers_is_a_site_that_works(live_server, capsys):
    call_command("alive", "web", "--port", str(live_server.thread.port))
    assert "is well" in capsys.readouterr().out


def test_a_site_that_does_not_answer_is_not_well():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: every connection is refused
        with pytest.raises(CommandError, match="does not answer"):
            call_command("alive", "web", "--port", str(unused.getsockname()[1]))
