"""Builds the image for real and runs the services of docker-compose.yaml from it: `make image-test`, as root.

Without a container engine: `buildah` builds with chroot isolation, on a base image that debootstrap makes and that
carries the name of the FROM line. What stands in for something is said in the output. Ends with 0 when all held.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("IMAGE_TEST_CACHE", "/var/tmp/rebalancer-image-test"))
TAG = "localhost/rebalancer:image-test"
BASE = re.search(r"^FROM (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE).group(1)
PACKAGES = "python3,python3-pip,python3-venv,ca-certificates"
NEEDED = {
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "busybox": "busybox",
}


def say(text):
    print(f"  {text}", flush=True)


def call(*words, **options):
    """Runs a program; shows what it said if it fails."""
    done = subprocess.run([str(word) for word in words], text=True, capture_output=True, **options)
    if done.returncode:
        raise SystemExit(f"FAILED: {' '.join(map(str, words))}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
    return done.stdout.strip()


def check_machine():
    if os.geteuid() != 0:
        raise SystemExit("The image test makes namespaces and a root file system: run it as root.")
    if missing := sorted({package for program, package in NEEDED.items() if not shutil.which(program)}):
        raise SystemExit(f"Missing: apt-get install -y --no-install-recommends {' '.join(missing)}")


def base_image():
    """A Debian with its own Python in place of the official image, under the official image's name."""
    root = CACHE / "base"
    if not (root / "usr/local/bin/python").is_symlink():
        shutil.rmtree(root, ignore_errors=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        say("debootstrap bookworm (a minute or two)")
        call("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root)
        for name in ("python", "python3"):
            (root / "usr/local/bin" / name).symlink_to("/usr/bin/python3")
        shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
        shutil.rmtree(root / "var/lib/apt/lists", ignore_errors=True)
    container = call("buildah", "from", "scratch")
    call("buildah", "add", "--quiet", container, root, "/")
    call("buildah", "config", "--env", "PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin", container)
    call("buildah", "commit", "--quiet", "--rm", container, f"docker.io/library/{BASE}")
    version = call("chroot", root, "python", "--version")
    say(f"stand-in for {BASE}: Debian bookworm with its {version}")


def build():
    """`buildah build` of the Dockerfile; the wheels are fetched outside, and their hashes are checked inside."""
    wheels = CACHE / "wheels"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    call(
        *pip, "download", "--quiet", "--no-deps", "--require-hashes", "-r", ROOT / "requirements/main.txt", "-d", wheels
    )
    configuration = CACHE / "pip.conf"
    configuration.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    call(
        *("buildah", "build", "--isolation", "chroot", "--pull-never", "--tag", TAG),
        *("--volume", f"{wheels}:/wheels:ro", "--volume", f"{configuration}:/etc/pip.conf:ro"),
        ROOT,
    )
    say(f"built {TAG} from the Dockerfile")


def unpacked():
    """Mounts the image and hands on where, with what it says of its user, environment and command."""
    container = call("buildah", "from", "--pull-never", TAG)
    return container, Path(call("buildah", "mount", container)), call("buildah", "inspect", "--type=image", TAG)


def main():
    check_machine()
    print("Building", flush=True)
    base_image()
    build()
    container, root, inspected = unpacked()
    directory = Path(tempfile.mkdtemp(prefix="rebalancer-image-test-"))
    directory.chmod(0o755)  # the services' users pass through it
    (directory / "image.json").write_text(inspected)
    try:
        # In namespaces of their own: no port of the machine is touched, and whatever is left ends with the first one.
        command = [sys.executable, "-m", "tests.deploy.stack", str(root), str(CACHE / "base"), str(directory)]
        isolated = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        result = subprocess.run([*isolated, *command], cwd=ROOT, check=False).returncode
    finally:
        subprocess.run(["buildah", "umount", container], capture_output=True, check=False)
        subprocess.run(["buildah", "rm", container], capture_output=True, check=False)
        shutil.rmtree(directory, ignore_errors=True)
    sys.exit(result)


if __name__ == "__main__":
    main()
