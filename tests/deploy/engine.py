"""As much of a container engine as starts the services of docker-compose.yaml without one.

Each service gets what the compose file asks for: a root of its own over the image (an overlay, read-only where asked),
tmpfs, secrets, volumes, host name, user, environment, no capabilities, no way to new rights. Names are found through
/etc/hosts, and all services share one network, which has to be a network namespace of its own.
"""

import os
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

LOOK_AGAIN_SECONDS = 0.3


@dataclass
class Image:
    """A root file system, and what the image says of its environment and command."""

    root: Path
    environment: dict = field(default_factory=dict)
    command: list = field(default_factory=list)
    workdir: str = "/"
    binds: dict = field(default_factory=dict)


class Engine:
    """Starts, asks, stops services."""

    def __init__(self, content, images, directory, env_file):
        self.content = content
        self.images = images
        self.directory = directory
        self.env_file = env_file
        self.processes = {}
        self.hosts = directory / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n" + "".join(f"127.0.0.1 {name}\n" for name in content["services"]))

    def start(self, service, instance=1, **extra):
        """Starts one container of a service and returns its name."""
        name = f"{service}-{instance}"
        log = (self.directory / f"{name}.log").open("a")
        self.processes[name] = subprocess.Popen(
            ["unshare", "--mount", "--uts", "/bin/sh", "-euc", self._script(service, name, extra)],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        log.close()
        return name

    def run(self, service, **extra):
        """Runs a service that ends by itself, and returns its exit code."""
        name = self.start(service, **extra)
        return self.processes.pop(name).wait(300)

    def exec(self, name, *command, stdin=None, binary=False):
        """Runs a command beside the process of a container, as its user, with its environment."""
        process = self.processes[name]
        service = name.rsplit("-", 1)[0]
        enter = ["nsenter", f"--target={process.pid}", "--mount", "--uts", "--root"]
        return subprocess.run(
            [*enter, *self._as_user(service, {}), *command],
            input=stdin,
            capture_output=True,
            text=not binary,
            timeout=120,
        )

    def healthy(self, name):
        """What the health check of the compose file says now."""
        test = self.content["services"][name.rsplit("-", 1)[0]]["healthcheck"]["test"]
        command = ["/bin/sh", "-c", test[1]] if test[0] == "CMD-SHELL" else test[1:]
        return self.processes[name].poll() is None and self.exec(name, *command).returncode == 0

    def stop(self, name, number=signal.SIGTERM):
        """Asks the main process alone to end, as an engine does, and returns its exit code."""
        service = self.content["services"][name.rsplit("-", 1)[0]]
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(int(service.get("stop_grace_period", "10s").rstrip("s")))

    def log(self, name):
        """What the container has written."""
        return (self.directory / f"{name}.log").read_text()

    def wait_for(self, condition, what, seconds=90):
        """Looks until the condition holds; a failure shows the logs."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if found := condition():
                return found
            time.sleep(LOOK_AGAIN_SECONDS)
        logs = "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in self.directory.glob("*.log"))
        raise SystemExit(f"FAILED: {what} did not happen within {seconds} seconds.\n{logs}")

    # ---- how a container is made

    def _script(self, service, name, extra):
        """The shell commands that make the container's world and become its process."""
        definition, image = self.content["services"][service], self._image(service)
        box = self.directory / name
        for part in ("upper", "work", "root"):
            (box / part).mkdir(parents=True, exist_ok=True)
        root = box / "root"
        lines = [
            "mount --make-rprivate /",
            f"hostname {name}",
            f"mount -t tmpfs tmpfs {box}",
            f"mkdir -p {box}/upper {box}/work {root}",
            f"mount -t overlay overlay -o lowerdir={image.root},upperdir={box}/upper,workdir={box}/work {root}",
            f"mkdir -p {root}/proc {root}/dev {root}/run/secrets && touch {root}/etc/hosts",
            f"mount -t proc proc {root}/proc && mount --rbind /dev {root}/dev",
            f"mount -t tmpfs -o mode=1777,size=64m tmpfs {root}/dev/shm",
        ]
        for option in definition.get("tmpfs", []):
            path, _, options = option.partition(":")
            lines.append(f"mkdir -p {root}{path} && mount -t tmpfs -o {options} tmpfs {root}{path}")
        for source, target in {**self._secrets(definition), **self._volumes(definition), **image.binds}.items():
            make = f"mkdir -p {root}{target}"
            if not Path(source).is_dir():
                make = f"mkdir -p {root}{Path(target).parent} && touch {root}{target}"
            lines.append(f"{make} && mount --bind {source} {root}{target}")
        lines.append(f"mount --bind {self.hosts} {root}/etc/hosts")
        if definition.get("read_only"):
            lines.append(f"mount -o remount,ro {root}")
        command = definition.get("command") or image.command
        lines.append("exec " + shlex.join(["chroot", str(root), *self._as_user(service, extra), *command]))
        return "\n".join(lines)

    def _secrets(self, definition):
        files = self.content["secrets"]
        return {
            str(Path(files[name]["file"]).resolve()): f"/run/secrets/{name}" for name in definition.get("secrets", [])
        }

    def _volumes(self, definition):
        mounts = {}
        for volume in definition.get("volumes", []):
            source, target = volume.split(":")[:2]
            if not source.startswith("."):
                mounts[str(self._volume(source, definition["user"]))] = target
            else:
                mounts[str((Path.cwd() / source).resolve())] = target
        return mounts

    def _volume(self, name, user):
        """A new one belongs to who uses it first, as where the image has the folder; one that is there, as it is."""
        kept = self.directory / "volumes" / name
        if not kept.exists():
            kept.mkdir(parents=True)
            os.chown(kept, *map(int, user.split(":")))
        return kept

    def _as_user(self, service, extra):
        """The words before a command that give it the container's user, rights and environment."""
        definition, image = self.content["services"][service], self._image(service)
        user, group = definition["user"].split(":")
        kept = "".join(f",+{right.lower()}" for right in definition.get("cap_add", []))
        environment = {"HOME": "/", **image.environment}  # as an engine sets it for a user without a name
        if "env_file" in definition:
            environment |= self.env_file
        environment |= definition.get("environment", {}) | extra
        return [
            "setpriv",
            f"--reuid={user}",
            f"--regid={group}",
            "--clear-groups",
            *(["--no-new-privs"] if "no-new-privileges:true" in definition.get("security_opt", []) else []),
            *([f"--bounding-set=-all{kept}", "--inh-caps=-all"] if "ALL" in definition.get("cap_drop", []) else []),
            "env",
            "--ignore-environment",
            f"--chdir={image.workdir}",
            *(f"{key}={value}" for key, value in environment.items()),
        ]

    def _image(self, service):
        return self.images[self.content["services"][service]["image"].split(":")[0]]
