"""What the benchmarks start and end: memcacheds, proxies and the floor, each on a free loopback port; and what /proc says of them.

The scripts beside this file and below tests/clients import it.
"""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
MEMCACHED = os.environ.get("MEMCACHED") or "memcached"
START_SECONDS_MAX = 10
STOP_SECONDS_MAX = 5


class Failure(Exception):
    """Something that makes the run worthless; the message says what was tried and how it went wrong."""


def hold_port():
    """A socket that holds a loopback port, which is its own to choose, for as long as it is open.

    It does not listen, so a server that sets SO_REUSEADDR, as all of these do, may listen there; and the kernel gives the
    port to nobody else. tests/common/port.rs does the same.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


class Server:
    """A child that listens on a loopback port; entering waits until it accepts, leaving ends it."""

    def __init__(self, name, command, directory, port=None, end=signal.SIGTERM):
        """`command(port)` is the argument list; the port of another may be given, to take its place."""
        self.name, self.command, self.directory, self.end = name, command, directory, end
        self.held = None if port else hold_port()
        self.port = port or self.held.getsockname()[1]
        self.process = None

    def start(self):
        """Starts it, without waiting."""
        with open(self.directory / f"{self.name}-{self.port}.log", "ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in self.command(self.port)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    def __enter__(self):
        if self.process is None or self.process.poll() is not None:
            self.start()
        if self.accepts():
            return self
        self.__exit__()
        raise Failure(f"{self.name} did not start on port {self.port}: {self.log().strip() or 'it said nothing'}")

    def __exit__(self, *_):
        if self.process.poll() is not None:
            return
        self.process.send_signal(self.end)
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def accepts(self):
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.01)
                continue
            return self.process.poll() is None
        return False

    def log(self):
        return (self.directory / f"{self.name}-{self.port}.log").read_text(errors="replace")

    def address(self):
        return f"127.0.0.1:{self.port}"

    def cpu_seconds(self):
        """User and system time of all its threads so far, in nanoseconds' steps where the kernel tells them."""
        process = pathlib.Path(f"/proc/{self.process.pid}")
        with contextlib.suppress(OSError):
            return sum(int((task / "schedstat").read_text().split()[0]) for task in (process / "task").iterdir()) / 1e9
        after_name = (process / "stat").read_text().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self):
        """Resident memory now: counted page by page, because what `status` says may lag behind."""
        rollup = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Rss:\s+(\d+) kB", rollup, re.MULTILINE)[1]) * 1024

    def peak_bytes(self):
        """The most resident memory there ever was."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def memcached(directory, port=None, program=MEMCACHED):
    user = ["-u", "root"] if os.geteuid() == 0 else []
    flags = [*user, "-l", "127.0.0.1", "-m", "2048", "-t", "1", "-c", "4096", "-U", "0"]
    # It has nothing to save, and takes a second to end when it is asked to.
    return Server("memcached", lambda port: [program, "-p", port, *flags], directory, port, signal.SIGKILL)


@contextlib.contextmanager
def memcacheds(directory, count):
    """So many, started side by side."""
    servers = [memcached(directory) for _ in range(count)]
    with contextlib.ExitStack() as stack:
        for server in servers:
            server.start()
            stack.callback(server.__exit__)
        for server in servers:
            server.__enter__()
        yield servers


def nutcracker(directory, primaries):
    """Keys by ketama and MD5; a timeout that none of our requests meets, and connections that wait to be accepted."""
    held = hold_port()

    def command(port):
        servers = "".join(f"    - {server.address()}:1\n" for server in primaries)
        configuration = directory / f"nutcracker-{port}.yml"
        configuration.write_text(
            f"farm:\n  listen: 127.0.0.1:{port}\n  hash: md5\n  distribution: ketama\n  backlog: 4096\n"
            f"  auto_eject_hosts: false\n  timeout: 30000\n  servers:\n{servers}"
        )
        statistics_at = ["-a", "127.0.0.1", "-s", held.getsockname()[1]]
        return ["nutcracker", "-c", configuration, *statistics_at, "-o", directory / "nutcracker.out"]

    return Server("nutcracker", command, directory)


def magent(binary, directory, primaries, backups=(), flags=(), port=None):
    farm = [word for server in primaries for word in ("-s", server.address())]
    farm += [word for server in backups for word in ("-b", server.address())]
    return Server("magent", lambda port: [binary, "-D", "-l", "127.0.0.1", "-p", port, *farm, *flags], directory, port)


def floor(program, directory, flags):
    """It answers what the load with the same options asks."""
    return Server("floor", lambda port: [program, f"127.0.0.1:{port}", *flags], directory)


def target():
    """Where cargo builds, and what is fetched for the tests lies."""
    return REPOSITORY / os.environ.get("CARGO_TARGET_DIR", "target")


def copy_magent(directory):
    """A copy of the release binary: it may be built anew while we run. The variable MAGENT may name another binary."""
    if os.environ.get("MAGENT"):
        return shutil.copy(os.environ["MAGENT"], directory / "magent")
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=REPOSITORY, check=True)
    return shutil.copy(target() / "release/magent", directory / "magent")


def copy_example(name, directory):
    """A copy of one of the examples that Cargo.toml names: the load, or the floor."""
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--example", name]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    return shutil.copy(target() / "release/examples" / name, directory / name)


@contextlib.contextmanager
def target_server(name, binary, directory, primaries_count, flags=()):
    """Starts what one target needs; gives the server to talk to.

    Of magent with backups, each primary is the backup of another one, as on two machines; a single one has a server of its own.
    """
    with contextlib.ExitStack() as stack:
        primaries = stack.enter_context(memcacheds(directory, primaries_count))
        if name == "memcached":
            yield primaries[0]
        elif name == "nutcracker":
            yield stack.enter_context(nutcracker(directory, primaries))
        else:
            backups = []
            if name.endswith(" -b"):
                backups = primaries if primaries_count > 1 else [stack.enter_context(memcached(directory))]
            yield stack.enter_context(magent(binary, directory, primaries, backups, flags))
