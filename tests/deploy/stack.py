"""Starts the services of docker-compose.yaml from the built image and has them carry out one rebalance.

Run by image_test.py in network, mount and process namespaces of its own.
"""

import json
import os
import shlex
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

from tests.deploy.compose_file import ROOT, load
from tests.deploy.engine import Engine
from tests.deploy.stand_ins import config_of, images
from tests.support.ably_server import AblyServer

ACCOUNT = """
accounts:
- account_id: SIM-1
  type: paper
  enabled: true
  strategy_name: image-test
  broker: simulated
  cash_reserve_percent: 1.0
  pdt_protection_enabled: false
"""
TARGETS = """
from decimal import Decimal
from accounts.models import Strategy, TargetAllocation
strategy = Strategy.objects.get(name="image-test")
strategy.source = "static"
strategy.save()
for symbol, weight in {weights}.items():
    TargetAllocation.objects.update_or_create(strategy=strategy, symbol=symbol, defaults=dict(weight=Decimal(weight)))
"""
ASK = """
import http.client, ssl, sys
path, port = sys.argv[1:]
where = "127.0.0.1" if port == "8000" else "localhost"
options = {} if port == "8000" else {"context": ssl._create_unverified_context()}
kind = http.client.HTTPConnection if port == "8000" else http.client.HTTPSConnection
site = kind(where, int(port), timeout=10, **options)
site.request("GET", path, headers={"Host": "localhost"})
answer = site.getresponse()
print(answer.status, answer.read().decode(errors="replace"))
"""
OURS = (("web", 1), ("worker", 1), ("worker", 2), ("listener", 1))


def check(holds, what):
    """One line for what held; the end for what did not."""
    if not holds:
        raise SystemExit(f"FAILED: {what}")
    print(f"  ok  {what}", flush=True)


def make_engine(image_root, base_root, directory, ably):
    secrets = directory / "secrets"
    subprocess.run([ROOT / "deploy/secrets.sh", secrets], check=True, stdout=subprocess.DEVNULL)
    (secrets / "realtime_api_key").write_text(ably.key)
    rehearsal = {
        "MARKET_CALENDAR": "always_open",
        "SWEEP_SECONDS": "2",
        "ABLY_ENDPOINT": "127.0.0.1",
        "ABLY_PORT": str(ably.port),
        "ABLY_TLS": "false",
    }
    found = images(image_root, base_root, directory)
    return Engine(load(SECRETS_DIR=str(secrets)), found, directory, rehearsal)


def the_image(image_root, directory):
    print("The image", flush=True)
    root = Path(image_root)
    user = config_of(directory)["User"]
    check(user == "10001:10001", "the image runs as a user without a name's rights: 10001:10001")
    check(not list(root.glob("srv/rebalancer/var/secret_key")), "no secret key is in the image")
    tools = [name for name in ("gcc", "make", "git") if list(root.glob(f"usr/bin/{name}"))]
    check(not tools and not list(root.glob("opt/rebalancer/bin/pip*")), "no build tools are in its last stage")


def manage(engine, *words, stdin=None, name="web-1"):
    done = engine.exec(name, "python", "manage.py", *words, stdin=stdin)
    check(
        done.returncode == 0, f"manage.py {' '.join(words[:2])}" if done.returncode == 0 else done.stdout + done.stderr
    )
    return done.stdout


def start(engine):
    print("Starting", flush=True)
    database = engine.start("db")
    engine.wait_for(lambda: engine.healthy(database), "PostgreSQL")
    version = engine.exec(database, "postgres", "--version").stdout.strip()
    check(True, f"db is healthy by its own check (stand-in for the official image: {version})")
    check(engine.run("migrate") == 0, "migrate ends with 0")
    start_ours(engine)
    check(engine.run("ib-gateway") == 64, "ib-gateway does not start without a user")
    check("Set TWS_USERID in .env" in engine.log("ib-gateway-1"), "and a sentence says what to do")


def start_ours(engine):
    for service, instance in OURS:
        engine.start(service, instance)
    for name in (f"{service}-{instance}" for service, instance in OURS):
        engine.wait_for(lambda name=name: engine.healthy(name), f"Health of {name}")
        check(True, f"{name} is healthy by its own check")


def hardening(engine):
    print("Hardening", flush=True)
    for name in ("db-1", "web-1", "worker-1", "listener-1"):
        status = Path(f"/proc/{engine.processes[name].pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        user = engine.content["services"][name.rsplit("-", 1)[0]]["user"].split(":")[0]
        right = set(fields["Uid"].split()) == {user} and fields["NoNewPrivs"].strip() == "1"
        check(right and int(fields["CapBnd"], 16) == 0, f"{name}: user {user}, no capabilities, no new privileges")
    for path in ("/srv/rebalancer/x", "/opt/rebalancer/x", "/etc/x"):
        wrote = engine.exec("web-1", "touch", path)
        check("Read-only file system" in wrote.stderr, f"web-1 cannot write {path}")
    check(engine.exec("worker-1", "touch", "/tmp/x").returncode == 0, "worker-1 can write /tmp, which is memory")


def rebalance(engine, ably):
    """An event by Ably and the listener, carried out by a worker."""
    print("One rebalance", flush=True)
    manage(engine, "import_accounts", "-", stdin=ACCOUNT)
    set_targets(engine, {"VTI": "0.6", "BND": "0.4"})
    until_heard(engine)
    check(True, "listener-1 hears the channel of the strategy")
    return carried_out(engine, ably, orders=2)


def until_heard(engine):
    """What is published before a listener has heard a channel for the first time is none of its events."""
    heard = "Listening to channel image-test"
    engine.wait_for(lambda: heard in engine.log("listener-1"), "The listener's channel")


def carried_out(engine, ably, orders):
    """The run of the next event, ended as it should."""
    before = len(runs_of(engine))
    ably.publish("image-test", {"exec": "rebalance"})

    def ended():
        runs = runs_of(engine)
        return runs if len(runs) > before and runs[0]["state"] not in {"queued", "running"} else None

    run = engine.wait_for(ended, "The run")[0]
    check(run["state"] == "completed" and run["error"] is None, f"a worker carried the event out: {run['state']}")
    filled = [order for order in run["orders"] if order["status"] == "filled"]
    check(len(filled) == len(run["orders"]) == orders, f"{orders} of {orders} orders are filled")
    check(Decimal(run["residual_drift"]) < Decimal("0.02"), f"residual drift {run['residual_drift']}")
    return run


def runs_of(engine):
    return json.loads(engine.exec("web-1", "python", "manage.py", "runs", "--json").stdout)


def set_targets(engine, weights):
    manage(engine, "shell", "-v0", "-c", TARGETS.format(weights=weights))


def ask(engine, path, name="web-1", port="8000"):
    """Status and body of a page, asked for beside the process of a container."""
    return engine.exec(name, "python", "-c", ASK, path, port).stdout


def pages(engine):
    print("Pages", flush=True)
    for path, what in (("/healthz", '"database": "ok"'), ("/admin/login/", "csrfmiddlewaretoken")):
        answer = ask(engine, path)
        check(answer.startswith("200") and what in answer, f"GET {path} answers 200")
    style = next(part for part in answer.split('"') if part.startswith("/static/") and part.endswith(".css"))
    check(ask(engine, style).startswith("200"), f"GET {style} answers 200")


def proxy(engine):
    print("TLS (instead of the official image: its version of Caddy from PyPI, and busybox for wget)", flush=True)
    check(engine.run("proxy-volume") == 0, "proxy-volume ends with 0")
    engine.start("proxy")
    engine.wait_for(lambda: engine.healthy("proxy-1"), "Health of proxy-1")
    check(True, "proxy-1 is healthy by its own check")
    engine.wait_for(lambda: ask(engine, "/admin/login/", port="8443").startswith("200"), "TLS", seconds=20)
    check(True, "GET https://localhost:8443/admin/login/ answers 200")
    check(ask(engine, "/metrics", port="8443").startswith("404"), "and /metrics is not handed out")
    check(engine.stop("proxy-1") == 0, "proxy-1 ends with 0 when asked to")


def backup_and_restore(engine, directory, ably, run):
    """The scripts of deploy/, through a stand-in for `docker compose` that asks this engine."""
    print("Backup and restore", flush=True)
    shim, stopped = directory / "compose", directory / "stopped"
    database = engine.processes["db-1"].pid
    inside = shlex.join(engine._as_user("db", {}))
    shim.write_text(
        f'#!/bin/sh\ncase "$1" in\n'
        f'exec) shift 3; exec nsenter --target={database} --mount --uts --root {inside} "$@" ;;\n'
        f'stop) shift; echo "$@" >{stopped} ;;\nesac\n'
    )
    shim.chmod(0o755)

    def script(name, *words):
        environment = os.environ | {"COMPOSE": str(shim)}
        return subprocess.run([ROOT / "deploy" / name, *words], env=environment, text=True, capture_output=True)

    dump, cut_short = directory / "backups" / "one.dump", directory / "backups" / "cut.dump"
    check(script("backup.sh", dump).returncode == 0, "deploy/backup.sh ends with 0")
    check(dump.stat().st_mode & 0o077 == 0, f"its {dump.stat().st_size} bytes are for their owner only")
    manage(engine, "shell", "-v0", "-c", "from trading.models import Fill; Fill.objects.all().delete()")
    check(script("restore.sh", dump).returncode == 2, "deploy/restore.sh asks for --replace")
    cut_short.write_bytes(dump.read_bytes()[: dump.stat().st_size // 3])
    check(script("restore.sh", cut_short, "--replace").returncode != 0, "a backup that was cut short is refused")
    check(not stopped.exists() and runs_of(engine) != [], "and nothing was stopped or replaced")
    for service, instance in reversed(OURS):
        check(engine.stop(f"{service}-{instance}") == 0, f"{service}-{instance} ends with 0 when asked to")
    restored = script("restore.sh", dump, "--replace")
    check(restored.returncode == 0, "deploy/restore.sh puts it back" if not restored.returncode else restored.stderr)
    check(stopped.read_text().split() == ["listener", "worker", "web"], "it stops what writes first")
    check(engine.run("migrate") == 0, "migrate ends with 0")
    start_ours(engine)
    check(json.loads(manage(engine, "runs", "--json"))[0] == run, "the run is there again as it was")
    fills = manage(engine, "shell", "-v0", "-c", "from trading.models import Fill; print(Fill.objects.count())")
    check(int(fills) >= 2, f"and its {fills.strip()} fills")
    set_targets(engine, {"VTI": "0.4", "BND": "0.6"})
    until_heard(engine)
    carried_out(engine, ably, orders=2)


def failing_checks_and_ends(engine):
    print("Health checks that fail, and ends", flush=True)
    check(
        engine.exec("web-1", "python", "manage.py", "alive", "worker").returncode != 0,
        "no worker is alive in web-1",
    )
    check(engine.stop("worker-2") == 0, "worker-2 ends with 0 when asked to")
    check(engine.stop("listener-1") == 0, "listener-1 ends with 0 when asked to")
    engine.processes["worker-1"].send_signal(9)
    engine.processes.pop("worker-1").wait(30)
    check(engine.stop("db-1", number=2) == 0, "db-1 ends with 0 when asked to")
    check(not engine.healthy("web-1"), "web-1 is not healthy without its database")
    check(engine.stop("web-1") == 0, "web-1 ends with 0 when asked to")


def main(image_root, base_root, directory):
    directory = Path(directory)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    the_image(image_root, directory)
    with AblyServer() as ably:
        engine = make_engine(image_root, base_root, directory, ably)
        start(engine)
        hardening(engine)
        run = rebalance(engine, ably)
        pages(engine)
        proxy(engine)
        backup_and_restore(engine, directory, ably, run)
        failing_checks_and_ends(engine)
    print("Not run here: a container engine, the official images of PostgreSQL and Caddy, and the gateway's image.")


if __name__ == "__main__":
    main(*sys.argv[1:])
