"""`manage.py alive`, the health check of containers."""

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
def test_alive_with_a_recent_heartbeat_is_healthy(kind, capsys):
    record_heartbeat(f"{kind}:{HOST}:17", kind)
    call_command("alive", kind)
    assert f"{kind} on {HOST}: healthy" in capsys.readouterr().out
    ProcessHeartbeat.objects.update(at=timezone.now() - timedelta(minutes=5))
    with pytest.raises(CommandError, match="UNHEALTHY"):
        call_command("alive", kind)


def test_healthz_with_plain_qcluster_uses_the_interval_of_its_sweeps(client):
    assert client.get("/healthz").status_code == 503
    tasks.sweep()
    for minutes, status in ((2, 200), (4, 503)):
        ProcessHeartbeat.objects.update(at=timezone.now() - timedelta(minutes=minutes))
        answer = client.get("/healthz")
        assert (answer.status_code, answer.json()["listener"]) == (status, "not configured")


def test_alive_with_a_worker_of_another_host_is_unhealthy():
    record_heartbeat("worker:another-host:17", "worker")
    record_heartbeat(f"listener:{HOST}:18", "listener")
    with pytest.raises(CommandError, match="UNHEALTHY"):
        call_command("alive", "worker")


@pytest.mark.django_db(transaction=True)
def test_alive_web_without_workers_is_healthy(live_server, capsys):
    call_command("alive", "web", "--port", str(live_server.thread.port))
    assert ": healthy" in capsys.readouterr().out


def test_alive_web_without_a_response_is_unhealthy():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        with pytest.raises(CommandError, match="UNHEALTHY"):
            call_command("alive", "web", "--port", str(unused.getsockname()[1]))
