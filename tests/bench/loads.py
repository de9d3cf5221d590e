"""What asks: the project's own load generator (load.rs), step by step, and memcaslap with its mixes."""

import json
import re
import select
import subprocess

from servers import Failure

# Beyond its own time: to store all items, to connect all clients, and to wait for what is missing.
SECONDS_MORE = 120
# memcaslap's own counters of what should not happen; the last two are there when it verifies.
FAULTS = ("get_misses", "verify_misses", "verify_failed")


def options(**named):
    """Options of the load and of the floor: `first_key=1` is --first-key=1."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in named.items()]


class Load:
    """The load generator; entering waits until all items are stored and each client has been answered once.

    A wrong value, a miss or an error ends it, and is a Failure here.
    """

    def __init__(self, program, server, flags, seconds=1.0):
        self.server, self.flags, self.seconds = server, flags, seconds
        command = [str(program), server.address(), f"--seconds={seconds}", "--steps", *flags]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self):
        try:
            line = self.line()
            if line != "ready\n":
                raise Failure(f"the load said {line!r} instead of ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        if not self.process.stdout.closed:
            self.process.communicate()

    def line(self):
        """What it says next, or why it ended."""
        if not select.select([self.process.stdout], [], [], self.seconds + SECONDS_MORE)[0]:
            raise Failure(f"{self.server.name}, {' '.join(self.flags)}: the load hangs")
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            why = self.process.stderr.read().strip()
            log = self.server.log().strip()[-600:]
            raise Failure(f"{self.server.name}, {' '.join(self.flags)}: {why}; its log: {log}")
        return line

    def begin(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def is_done(self):
        return bool(select.select([self.process.stdout], [], [], 0)[0])

    def finish(self):
        """What it has measured: requests, seconds, p50_us, p99_us, max_us."""
        return json.loads(self.line())

    def play(self):
        self.begin()
        return self.finish()


def judge(output, status):
    """memcaslap's numbers, by its own names, and what is wrong with them: error replies, misses, other values."""
    numbers = {name: int(number) for name, number in re.findall(r"^(\w+): (\d+)$", output, re.MULTILINE)}
    summary = re.search(r"Ops: (\d+) TPS: (\d+)", output)
    if status != 0 or not summary:
        raise Failure(f"memcaslap failed with {status}: {output.strip()[-300:]}")
    numbers["ops"], numbers["tps"] = int(summary[1]), int(summary[2])
    lines = output.splitlines()
    complaints = [line for line in lines if re.match(r"\s*<\d|.*(?i:error|failed[^:]|not due|assert)", line)]
    wrong = [f"{name}={numbers[name]}" for name in FAULTS if numbers.get(name)]
    if complaints:
        wrong.append(f"{len(complaints)} complaints, the first: {complaints[0].strip()}")
    if numbers["cmd_get"] == 0 or numbers["cmd_set"] == 0:
        wrong.append(f"only cmd_get={numbers['cmd_get']} cmd_set={numbers['cmd_set']}")
    return numbers, wrong


class Memcaslap:
    """One run of memcaslap, in the background until `finish`: of so many whole seconds, or as long as the flags say if that is 0."""

    def __init__(self, port, seconds, flags):
        words = ["memcaslap", "-s", f"127.0.0.1:{port}", "-T", "1", *(["-t", f"{seconds}s"] if seconds else []), *flags]
        self.seconds = seconds
        self.process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def finish(self):
        """Its numbers, by memcaslap's own names, and what is wrong with them: error replies, misses, other values."""
        try:
            output, _ = self.process.communicate(timeout=self.seconds + 20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure("memcaslap hangs: a request was never answered") from None
        return judge(output, self.process.returncode)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
