#!/usr/bin/env python3
"""What applications do with pymemcache, python-memcached and pylibmc, against whatever listens on a loopback port.

usage: python_clients.py PORT [MODULE...]

Modules that are not named are not needed; without any, all are. Prints `ok LIBRARY: CASE` or `FAIL LIBRARY: CASE: WHY` a line; exits 1 if one failed. The libraries are used unchanged;
the classes here only give their calls the same names and their ways to say no the same answer.
"""

import importlib
import sys

# Those that are wanted: `main` imports them.
memcache = pylibmc = pymemcache = None

LARGE = b"0123456789abcdef" * 60_000
TOO_LARGE = b"x" * (1024 * 1024 + 1)
AWKWARD = b"\r\nEND\r\nVALUE x 0 1\r\n\x00\xff\r\n"


class PyMemcache:
    """pymemcache, waiting for every reply."""

    noreply = False

    def __init__(self, port):
        address = ("127.0.0.1", port)
        self.client = pymemcache.Client(address, default_noreply=self.noreply, timeout=10, connect_timeout=10)
        for name in ("get", "add", "replace", "append", "prepend", "incr", "decr", "delete", "gets", "version"):
            setattr(self, name, getattr(self.client, name))
        self.touch = self.client.touch
        self.get_multi, self.delete_multi = self.client.get_many, self.client.delete_many
        self.flush_all, self.stats = self.client.flush_all, self.client.stats

    def set(self, key, value, exptime=0):
        return self.client.set(key, value, exptime)

    def set_multi(self, items):
        return not self.client.set_many(items)

    def cas(self, key, value, unique):
        return bool(self.client.cas(key, value, unique, noreply=False))

    def refuses(self, key, value):
        try:
            self.client.set(key, value, noreply=False)
        except pymemcache.exceptions.MemcacheServerError as error:
            return "too large" in str(error)
        return False


class PyMemcacheNoreply(PyMemcache):
    """pymemcache as it is by default: it does not wait for the replies to its writes."""

    noreply = True


class PythonMemcached:
    """python-memcached; it remembers a key's cas unique itself."""

    def __init__(self, port):
        # Its own limit must not come before the server's.
        self.client = memcache.Client(
            [f"127.0.0.1:{port}"], cache_cas=True, socket_timeout=10, dead_retry=0, server_max_value_length=2**30
        )
        for name in ("get", "add", "replace", "append", "prepend", "incr", "decr", "delete", "touch"):
            setattr(self, name, getattr(self.client, name))
        self.get_multi, self.delete_multi, self.flush_all = (
            self.client.get_multi, self.client.delete_multi, self.client.flush_all
        )

    def set(self, key, value, exptime=0):
        return self.client.set(key, value, exptime)

    def set_multi(self, items):
        return not self.client.set_multi(items)

    def gets(self, key):
        value = self.client.gets(key)
        return value, self.client.cas_ids.get(key)

    def cas(self, key, value, unique):
        self.client.cas_ids[key] = unique
        return bool(self.client.cas(key, value))

    def version(self):
        return dict(self.stats())[b"version"]

    def stats(self):
        [(_, stats)] = self.client.get_stats()
        return {name.encode(): value.encode() for name, value in stats.items()}

    def refuses(self, key, value):
        return not self.client.set(key, value)


class PyLibmc:
    """pylibmc, which is libmemcached underneath."""

    behaviors = {"cas": True, "tcp_nodelay": True}
    binary = False

    def __init__(self, port):
        self.client = pylibmc.Client([f"127.0.0.1:{port}"], binary=self.binary, behaviors=self.behaviors)
        for name in ("get", "get_multi", "delete_multi", "flush_all"):
            setattr(self, name, getattr(self.client, name))
        for name in ("add", "replace", "append", "prepend", "incr", "decr", "delete", "touch"):
            setattr(self, name, self.none_if_absent(getattr(self.client, name)))
        self.set_multi = lambda items: not self.client.set_multi(items)

    @staticmethod
    def none_if_absent(call):
        def wrapped(*arguments):
            try:
                return call(*arguments)
            except pylibmc.NotFound:
                return None

        return wrapped

    def set(self, key, value, exptime=0):
        return self.client.set(key, value, exptime)

    def gets(self, key):
        return self.client.gets(key)

    def cas(self, key, value, unique):
        try:
            return bool(self.client.cas(key, value, unique))
        except (pylibmc.NotFound, pylibmc.DataExists):
            return False

    def version(self):
        return self.stats()[b"version"]

    def stats(self):
        [(_, stats)] = self.client.get_stats()
        return {
            name.encode() if isinstance(name, str) else name: value.encode() if isinstance(value, str) else value
            for name, value in stats.items()
        }

    def refuses(self, key, value):
        try:
            return not self.client.set(key, value)
        except pylibmc.Error:
            return True


class PyLibmcNonBlocking(PyLibmc):
    """pylibmc with the setting that its authors recommend for speed."""

    behaviors = {"cas": True, "no_block": True, "tcp_nodelay": True}


class PyLibmcBinary(PyLibmc):
    """pylibmc in the binary protocol, where a time below zero is a date far in the future."""

    binary = True


def same(got, expected, what):
    if got != expected:
        raise AssertionError(f"{what}: got {got!r:.120}, expected {expected!r:.120}")


def set_and_get(client):
    client.set("plain", b"value")
    same(client.get("plain"), b"value", "get after set")
    client.set("plain", b"other")
    same(client.get("plain"), b"other", "get after a second set")
    same(client.get("absent"), None, "get of a key that is not there")


def awkward_values(client):
    for value in (b"", AWKWARD, LARGE):
        client.set("awkward", value)
        same(client.get("awkward"), value, f"get of {len(value)} bytes")


def long_key(client):
    key = "k" * 250
    client.set(key, b"long")
    same(client.get(key), b"long", "get of a key of 250 bytes")


def value_too_large(client):
    client.set("too-large", b"small")
    same(client.refuses("too-large", TOO_LARGE), True, "a value over the limit is refused")
    same(client.get("too-large"), None, "as in memcached, the old value is gone")
    client.set("too-large", b"again")
    same(client.get("too-large"), b"again", "the connection lives on")


def multi_get(client):
    items = {f"multi-{number}": b"%d" % number * 7 for number in range(500)}
    same(client.set_multi(items), True, "set_multi")
    same(client.get_multi(list(items)), items, "get_multi of 500 keys")
    some = client.get_multi(["absent-1", "multi-7", "absent-2"])
    same(some, {"multi-7": items["multi-7"]}, "get_multi with absent keys")
    client.delete_multi([f"multi-{number}" for number in range(0, 500, 2)])
    left = {key: value for key, value in items.items() if int(key[6:]) % 2}
    same(client.get_multi(list(items)), left, "get_multi after delete_multi of every other key")


def add_and_replace(client):
    client.delete("either")
    client.replace("either", b"no")
    same(client.get("either"), None, "replace of a key that is not there")
    client.add("either", b"added")
    same(client.get("either"), b"added", "add")
    client.add("either", b"no")
    same(client.get("either"), b"added", "add of a key that is there")
    client.replace("either", b"replaced")
    same(client.get("either"), b"replaced", "replace")


def append_and_prepend(client):
    client.set("middle", b"b")
    client.append("middle", b"c")
    client.prepend("middle", b"a")
    same(client.get("middle"), b"abc", "append and prepend")
    client.append("absent", b"no")
    same(client.get("absent"), None, "append to a key that is not there")


def cas(client):
    client.set("cas", b"one")
    value, unique = client.gets("cas")
    same(value, b"one", "gets")
    same(client.cas("cas", b"two", unique), True, "cas with the unique of now")
    same(client.get("cas"), b"two", "get after cas")
    same(client.cas("cas", b"three", unique), False, "cas with a unique of before")
    same(client.get("cas"), b"two", "get after a refused cas")
    _, unique = client.gets("cas")
    client.delete("cas")
    same(client.cas("cas", b"four", unique), False, "cas of a deleted key")
    same(client.get("cas"), None, "get after a cas of a deleted key")


def incr_and_decr(client):
    client.set("number", b"10")
    client.incr("number", 5)
    same(client.get("number").strip(), b"15", "incr")
    client.decr("number", 7)
    same(client.get("number").strip(), b"8", "decr")
    client.decr("number", 100)
    same(client.get("number").strip(), b"0", "decr stops at 0")
    same(client.incr("absent", 1), None, "incr of a key that is not there")
    same(client.get("absent"), None, "incr makes no key")


def delete(client):
    client.set("delete", b"value")
    client.delete("delete")
    same(client.get("delete"), None, "get after delete")
    client.delete("delete")
    client.set("delete", b"again")
    same(client.get("delete"), b"again", "set after two deletes")


def touch_and_expire(client):
    client.set("touch", b"value", 1000)
    client.touch("touch", 2000)
    same(client.get("touch"), b"value", "get after touch")
    # A time in the past, so that nobody has to wait.
    left = b"value" if getattr(client, "binary", False) else None
    client.touch("touch", -1)
    same(client.get("touch"), left, "get after a touch with a time in the past")
    client.set("expired", b"value", -1)
    same(client.get("expired"), left, "get after a set with a time in the past")
    client.touch("absent", 100)
    same(client.get("absent"), None, "touch makes no key")


def many_in_a_row(client):
    for number in range(2000):
        client.set(f"row-{number % 50}", b"%d" % number)
    for number in range(1950, 2000):
        same(client.get(f"row-{number % 50}"), b"%d" % number, f"key row-{number % 50} after 2000 sets")


def version_and_stats(client):
    version = client.version()
    version = version.decode() if isinstance(version, bytes) else version
    same(version[:1].isdigit(), True, f"version {version!r} begins with a digit")
    stats = client.stats()
    for name in b"pid uptime version curr_connections cmd_get cmd_set get_hits get_misses".split():
        same(name in stats, True, f"stats has {name!r}")


def flush_all(client):
    client.set_multi({f"flush-{number}": b"value" for number in range(20)})
    client.flush_all()
    same(client.get_multi([f"flush-{number}" for number in range(20)]), {}, "get_multi after flush_all")
    client.set("flush-1", b"again")
    same(client.get("flush-1"), b"again", "set after flush_all")


LIBRARIES = {
    "pymemcache": ("pymemcache", PyMemcache),
    "pymemcache, noreply": ("pymemcache", PyMemcacheNoreply),
    "python-memcached": ("memcache", PythonMemcached),
    "pylibmc": ("pylibmc", PyLibmc),
    "pylibmc, no_block": ("pylibmc", PyLibmcNonBlocking),
    "pylibmc, binary": ("pylibmc", PyLibmcBinary),
}
CASES = [
    set_and_get, awkward_values, long_key, value_too_large, multi_get, add_and_replace, append_and_prepend, cas,
    incr_and_decr, delete, touch_and_expire, many_in_a_row, version_and_stats, flush_all,
]


def main():
    port, wanted = int(sys.argv[1]), sys.argv[2:] or {module for module, _ in LIBRARIES.values()}
    for module in wanted:
        globals()[module] = importlib.import_module(module)
    failed = 0
    for library, (module, make) in LIBRARIES.items():
        if module not in wanted:
            continue
        client = make(port)
        for case in CASES:
            name = f"{library}: {case.__name__.replace('_', ' ')}"
            try:
                case(client)
                print(f"ok {name}", flush=True)
            except Exception as error:  # a library may raise anything, and each is a finding
                failed += 1
                client = make(port)
                print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
