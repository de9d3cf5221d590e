"""The rows of the benchmark: what is asked, of which targets, and what is taken down of each.

Each measurement starts servers and a proxy of its own, so that each finds the same empty memory. Two memcacheds stand behind a
proxy and keys are spread by ketama, if the row does not say otherwise. A sample is a dictionary of numbers.
"""

import contextlib
import dataclasses
import functools
import math
import pathlib
import re
import time
import typing

import servers
from loads import Load, Memcaslap, options
from servers import Failure

# The floor is answered by what answers without a look; `other` is another magent, if there is one.
PROXIES = ("nutcracker", "magent", "magent -b", "other", "other -b")
DIRECT = ("memcached", *PROXIES)
ALL = ("floor", *DIRECT)

KB, MB = 1024, 1_000_000
# What a client asks for that holds up another one beside it.
HEAVY_FIRST_KEY = 50_000_000
HEAVY_SECONDS_MORE = 0.3
CONNECTIONS = 10_000
# Files that may be open: all connections, on either side.
FILES = CONNECTIONS + 500
LARGE_CLIENTS = 500
# Of memcaslap, instead of a part of a second.
FEW_REQUESTS = 50_000
MANY_CLIENTS = ["-n", "20000"]


class Disturbed(Failure):
    """A machine with other things to do made a server seem dead: the measurement may be done again."""


@dataclasses.dataclass
class Bench:
    """What all measurements of a run need."""

    directory: pathlib.Path
    programs: dict  # magent, load, floor, and other if there is one
    seconds: float
    # How long after the last client has gone memory is looked at.
    rest_seconds: float = 5


@dataclasses.dataclass
class Row:
    """`measure(bench, target)` gives a sample; `group` is the table and the picture that it belongs to."""

    group: str
    name: str
    targets: typing.Sequence
    measure: typing.Callable


@contextlib.contextmanager
def started(bench, target, flags=(), primaries=2, more=()):
    """The server to ask, and the options of the load; `more` are magent's own. Disturbed if a server was away."""
    if target == "floor":
        with servers.floor(bench.programs["floor"], bench.directory, flags) as server:
            yield server, [*flags, "--unchecked"]
    else:
        binary = bench.programs.get(target.split()[0])
        with servers.target_server(target, binary, bench.directory, primaries, ["-k", *more]) as server:
            yield server, list(flags)
            check_log(target, server)


def check_log(target, magent):
    """A server that magent gave up is asked nothing, and its partner more: clients see no error, and other work was measured."""
    down = re.search(r"^.*\bis down\b.*$", magent.log(), re.MULTILINE)
    if down:
        raise Disturbed(f"{target} took a server for dead: {down[0]}")


def cost(bench, target, keys_a_request=1, primaries=2, more=(), **asked):
    """CPU a request, or a key, of what is asked; and what the clients saw."""
    with started(bench, target, options(**asked), primaries, more) as (server, flags):
        with Load(bench.programs["load"], server, flags, bench.seconds) as load:
            before = server.cpu_seconds()
            said = load.play()
            cpu_seconds = server.cpu_seconds() - before
    count = said["requests"] * keys_a_request
    return {
        "cpu_us": cpu_seconds * 1e6 / count,
        "rate": count / said["seconds"],
        "p50_us": said["p50_us"],
        "p99_us": said["p99_us"],
    }


def mix(bench, target, keys):
    """memcaslap's nine gets to one set, with so many keys in a get; a request is a key.

    It counts in whole seconds, and where there is not one of them, requests.
    """
    seconds = math.floor(bench.seconds)
    flags = ["-c", "50", "-X", "100", "-d", str(keys), *([] if seconds else ["-x", str(FEW_REQUESTS)])]
    with started(bench, target) as (server, _):
        before = server.cpu_seconds()
        run = Memcaslap(server.port, seconds, flags)
        try:
            numbers, wrong = run.finish()
        finally:
            run.kill()
        if wrong:
            raise Failure(f"{target}, memcaslap -d {keys}: {'; '.join(wrong)}; its log: {server.log().strip()[-600:]}")
        cpu_us = (server.cpu_seconds() - before) * 1e6 / numbers["ops"]
    return {"cpu_us": cpu_us, "rate": numbers["tps"]}


def beside(bench, target, **heavy):
    """How long one client waits for 100 bytes, alone and beside one that asks for much at a time."""
    program = bench.programs["load"]
    light = options(clients=1, keys=1000)
    with started(bench, target) as (server, _):
        with Load(program, server, light, bench.seconds) as load:
            alone = load.play()
        heavy = options(clients=1, first_key=HEAVY_FIRST_KEY, **heavy)
        with Load(program, server, heavy, bench.seconds + HEAVY_SECONDS_MORE) as other:
            with Load(program, server, light, bench.seconds) as load:
                other.begin()
                load.begin()
                both = load.finish()
                if other.is_done():
                    raise Failure(f"{target}: the client that asks for much was done before the other one")
            other.finish()
    times = {"alone": alone, "beside": both}
    return {f"{name}_{when}_us": said[f"{name}_us"] for name in ("p50", "p99") for when, said in times.items()}


def at_rest(bench, target):
    """Memory of a proxy that does nothing: at the start, with one client, and with many connections that were used once."""
    more = MANY_CLIENTS
    with started(bench, target, more=more) as (server, _):
        start = server.resident_bytes()
        with Load(bench.programs["load"], server, options(clients=1, keys=1000)):
            one = server.resident_bytes()
        with Load(bench.programs["load"], server, options(clients=CONNECTIONS, keys=1000)):
            many = server.resident_bytes()
    return {"start_bytes": start, "one_bytes": one, "many_bytes": many, "connection_bytes": (many - one) / (CONNECTIONS - 1)}


def after_large(bench, target):
    """Memory of a proxy before, while and after many clients ask for large values."""
    large = options(clients=LARGE_CLIENTS, value=MB, keys=20)
    with started(bench, target) as (server, _):
        with Load(bench.programs["load"], server, options(clients=1, keys=1000)):
            before = server.resident_bytes()
        with Load(bench.programs["load"], server, large, bench.seconds) as load:
            load.play()
        time.sleep(bench.rest_seconds)
        after = server.resident_bytes()
        peak = server.peak_bytes()
    return {"before_bytes": before, "peak_bytes": peak, "after_bytes": after, "kept_bytes": after - before}


def listening(port):
    """How many sockets listen on a port of this machine."""
    sockets = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(words[1].split(":")[1], 16) == port and words[3] == "0A" for words in sockets)


def processes(bench, target, count, loads=4):
    """Throughput of so many magents that share a port, before as many loads whatever their number is."""
    flags = ["-k", "--reuse-port"]
    binary = bench.programs[target.split()[0]]
    with contextlib.ExitStack() as stack:
        primaries = stack.enter_context(servers.memcacheds(bench.directory, 2))
        magents = []
        for _ in range(count):
            port = magents[0].port if magents else None
            magents.append(stack.enter_context(servers.magent(binary, bench.directory, primaries, (), flags, port)))
        deadline = time.monotonic() + servers.START_SECONDS_MAX
        while listening(magents[0].port) != count:
            if time.monotonic() > deadline:
                raise Failure(f"of {count} magents that share a port, {listening(magents[0].port)} listen: {magents[0].log()}")
            time.sleep(0.01)
        # Each has clients, wherever the kernel sends them.
        asking = [Load(bench.programs["load"], magents[0], options(clients=50), bench.seconds) for _ in range(loads)]
        for load in asking:
            stack.callback(load.__exit__)
        for load in asking:
            load.__enter__()
        before = [magent.cpu_seconds() for magent in magents]
        for load in asking:
            load.begin()
        said = [load.finish() for load in asking]
        cpu_seconds = [magent.cpu_seconds() - used for magent, used in zip(magents, before)]
        check_log(target, magents[0])
    requests = sum(each["requests"] for each in said)
    return {
        "rate": requests / max(each["seconds"] for each in said),
        "cpu_us": sum(cpu_seconds) * 1e6 / requests,
        "p99_us": max(each["p99_us"] for each in said),
    }


# Names of rows that tables and pictures look for.
LATENCY = {1: "get, 1 client", 50: "get, 50 clients", 500: "get, 500 clients"}
# What is asked, and how many keys a request has.
COSTS = {
    LATENCY[1]: (dict(clients=1), 1),
    LATENCY[50]: (dict(clients=50), 1),
    LATENCY[500]: (dict(clients=500), 1),
    "set, 50 clients": (dict(command="set"), 1),
    "get of 20 keys": (dict(width=20), 20),
    "get of 100 keys": (dict(width=100), 100),
    "get of 10 KB": (dict(value=10 * KB, keys=1000), 1),
    "get, 32 in flight a client": (dict(depth=32), 1),
}
MIXES = {"memcaslap, 20 keys": 20, "memcaslap, 100 keys": 100}
HEAVY = {
    "beside gets of 1,000 keys": dict(width=1000),
    "beside gets of 1 MB": dict(value=MB, keys=20),
}
AT_REST, AFTER_LARGE = "memory at rest", "memory after 500 clients with 1 MB"
PROCESSES = {count: f"{count} magent{'s' if count > 1 else ''} on one port" for count in (1, 2, 4)}


class Growth(typing.NamedTuple):
    """What grows takes these values; `asked(value)` is what is measured, and `words` what stays as it is."""

    values: typing.Sequence
    asked: typing.Callable
    words: str


GROWTHS = {
    "connected clients": Growth(
        (10, 100, 1000, CONNECTIONS),
        lambda count: dict(clients=count, at_once=10, more=MANY_CLIENTS),
        "ten requests in flight",
    ),
    "servers": Growth((1, 4, 16, 64), lambda count: dict(primaries=count), "50 clients"),
    "requests in flight": Growth((1, 5, 25, 100, 500), lambda count: dict(clients=1, depth=count), "one client"),
    "bytes of a value": Growth(
        (100, 1000, 10_000, 100_000, MB),
        lambda count: dict(value=count, clients=10, keys=max(20, min(10_000, 10 * MB // count))),
        "ten clients",
    ),
}


def growth_name(what, count):
    return f"{what}: {count:,}"


def rows(has_other=False):
    """All of them."""
    made = []
    for name, (asked, keys) in COSTS.items():
        made.append(Row("cost", name, ALL, functools.partial(cost, keys_a_request=keys, **asked)))
    made += [Row("mix", name, DIRECT, functools.partial(mix, keys=keys)) for name, keys in MIXES.items()]
    made += [Row("beside", name, DIRECT, functools.partial(beside, **heavy)) for name, heavy in HEAVY.items()]
    made += [Row("memory", AT_REST, PROXIES, at_rest), Row("memory", AFTER_LARGE, PROXIES, after_large)]
    for what, growth in GROWTHS.items():
        # What stands behind it is nothing to the floor.
        targets = PROXIES if what == "servers" else ("floor", *PROXIES)
        for value in growth.values:
            made.append(Row("growth", growth_name(what, value), targets, functools.partial(cost, **growth.asked(value))))
    for count, name in PROCESSES.items():
        made.append(Row("processes", name, ("magent", "other"), functools.partial(processes, count=count)))
    for row in made:
        row.targets = [target for target in row.targets if has_other or not target.startswith("other")]
    return made


def turns(targets, number):
    """The targets in another order each round."""
    first = number % len(targets)
    return [*targets[first:], *targets[:first]]
