#!/usr/bin/env python3
"""Python's memcached clients for ../matrix. usage: adapter.py CLIENT PORT

Reads an operation a line, `name<TAB>hex<TAB>hex`, does it with the client, and answers a line; ../README.md has the
operations and the answers. A client is used with the defaults of its library, but for what its class says here.
"""

import asyncio
import importlib
import sys


class Lacks(Exception):
    """The client has no such operation."""


class Client:
    """What a library lacks is lacked here; subclasses have the rest. Values are str, `get` gives None for a miss."""

    unique = None

    def __init__(self, port):
        self.port = port
        self.address = f"127.0.0.1:{port}"

    def close(self):
        """When there is no more to do."""

    def __getattr__(self, name):
        raise Lacks(name)


class Pymemcache(Client):
    """It waits for replies here: else a refusal could not be seen."""

    def __init__(self, port):
        super().__init__(port)
        pymemcache = importlib.import_module("pymemcache")
        self.c = pymemcache.Client(("127.0.0.1", port), default_noreply=False, timeout=10, encoding="utf-8")

    def set(self, key, value, ttl):
        return self.c.set(key, value.encode(), ttl)

    def add(self, key, value):
        return self.c.add(key, value.encode())

    def replace(self, key, value):
        return self.c.replace(key, value.encode())

    def append(self, key, value):
        return self.c.append(key, value)

    def prepend(self, key, value):
        return self.c.prepend(key, value)

    def get(self, key):
        return self.c.get(key)

    def getmulti(self, *keys):
        return self.c.get_many(keys)

    def gets(self, key):
        value, self.unique = self.c.gets(key)
        return value

    def cas(self, key, value):
        return self.c.cas(key, value.encode(), self.unique)

    def incr(self, key, number):
        return self.c.incr(key, number)

    def decr(self, key, number):
        return self.c.decr(key, number)

    def delete(self, key):
        return self.c.delete(key)

    def touch(self, key, ttl):
        return self.c.touch(key, ttl)

    def flush(self):
        return self.c.flush_all()

    def stats(self):
        return list(self.c.stats())

    def version(self):
        return self.c.version()


class PymemcacheNoreply(Pymemcache):
    """Its writes do not wait for a reply, as by default; but for those that are made for the sake of their answer."""

    def __init__(self, port):
        super().__init__(port)
        self.c.default_noreply = True

    def add(self, key, value):
        return self.c.add(key, value.encode(), noreply=False)

    def incr(self, key, number):
        return self.c.incr(key, number, noreply=False)

    def decr(self, key, number):
        return self.c.decr(key, number, noreply=False)


class PythonMemcached(Client):
    def __init__(self, port):
        super().__init__(port)
        memcache = importlib.import_module("memcache")
        self.c = memcache.Client([self.address], cache_cas=True, socket_timeout=10)

    def set(self, key, value, ttl):
        return self.c.set(key, value, ttl)

    def add(self, key, value):
        return self.c.add(key, value)

    def replace(self, key, value):
        return self.c.replace(key, value)

    def append(self, key, value):
        return self.c.append(key, value)

    def prepend(self, key, value):
        return self.c.prepend(key, value)

    def get(self, key):
        return self.c.get(key)

    def getmulti(self, *keys):
        return self.c.get_multi(keys)

    def gets(self, key):
        return self.c.gets(key)

    def cas(self, key, value):
        return self.c.cas(key, value)

    def incr(self, key, number):
        return self.c.incr(key, number)

    def decr(self, key, number):
        return self.c.decr(key, number)

    def delete(self, key):
        # It gives 1 for a key that was not there, too.
        return self.c.delete(key)

    def touch(self, key, ttl):
        return self.c.touch(key, ttl)

    def flush(self):
        self.c.flush_all()
        return True

    def stats(self):
        [(_, stats)] = self.c.get_stats()
        return list(stats)


class Pylibmc(Client):
    """Each answer that is an exception of the kind NotFound is said to be a no."""

    binary = False

    def __init__(self, port):
        super().__init__(port)
        self.m = importlib.import_module("pylibmc")
        self.c = self.m.Client([self.address], binary=self.binary, behaviors={"cas": True})

    def said(self, operation, *arguments):
        try:
            return operation(*arguments)
        except self.m.NotFound:
            return False

    def set(self, key, value, ttl):
        return self.c.set(key, value, ttl)

    def add(self, key, value):
        return self.c.add(key, value)

    def replace(self, key, value):
        return self.c.replace(key, value)

    def append(self, key, value):
        return self.said(self.c.append, key, value)

    def prepend(self, key, value):
        return self.said(self.c.prepend, key, value)

    def get(self, key):
        return self.c.get(key)

    def getmulti(self, *keys):
        return self.c.get_multi(keys)

    def gets(self, key):
        value, self.unique = self.c.gets(key)
        return value

    def cas(self, key, value):
        return self.said(self.c.cas, key, value, self.unique)

    def incr(self, key, number):
        return self.said(self.c.incr, key, number)

    def decr(self, key, number):
        return self.said(self.c.decr, key, number)

    def delete(self, key):
        return self.c.delete(key)

    def touch(self, key, ttl):
        return self.said(self.c.touch, key, ttl)

    def flush(self):
        return self.c.flush_all()

    def stats(self):
        [(_, stats)] = self.c.get_stats()
        return list(stats)


class PylibmcBinary(Pylibmc):
    binary = True


class Libmc(Client):
    def __init__(self, port):
        super().__init__(port)
        libmc = importlib.import_module("libmc")
        self.c = libmc.Client([self.address])
        self.c.config(libmc.MC_POLL_TIMEOUT, 10000)
        self.c.toggle_flush_all_feature(True)

    def set(self, key, value, ttl):
        return self.c.set(key, value.encode(), ttl)

    def add(self, key, value):
        return self.c.add(key, value.encode())

    def replace(self, key, value):
        return self.c.replace(key, value.encode())

    def append(self, key, value):
        return self.c.append(key, value.encode())

    def prepend(self, key, value):
        return self.c.prepend(key, value.encode())

    def get(self, key):
        return self.c.get(key)

    def getmulti(self, *keys):
        return self.c.get_multi(list(keys))

    def gets(self, key):
        found = self.c.gets(key)
        if not found:
            return None
        value, self.unique = found
        return value

    def cas(self, key, value):
        return self.c.cas(key, value.encode(), 0, self.unique)

    def incr(self, key, number):
        return self.c.incr(key, number)

    def decr(self, key, number):
        return self.c.decr(key, number)

    def delete(self, key):
        return self.c.delete(key)

    def touch(self, key, ttl):
        return self.c.touch(key, ttl)

    def flush(self):
        return bool(self.c.flush_all())

    def stats(self):
        [stats] = self.c.stats().values()
        return list(stats)

    def version(self):
        [version] = self.c.version().values()
        return version


class BinaryMemcached(Client):
    """python-binary-memcached; it has no append, and gives each counter an initial value."""

    def __init__(self, port):
        super().__init__(port)
        self.c = importlib.import_module("bmemcached").Client([self.address], socket_timeout=10)

    def set(self, key, value, ttl):
        return self.c.set(key, value, ttl)

    def add(self, key, value):
        return self.c.add(key, value)

    def replace(self, key, value):
        return self.c.replace(key, value)

    def get(self, key):
        return self.c.get(key)

    def getmulti(self, *keys):
        return self.c.get_multi(keys)

    def gets(self, key):
        value, self.unique = self.c.gets(key)
        return value

    def cas(self, key, value):
        return self.c.cas(key, value, self.unique)

    def incrinit(self, key, number, initial):
        [server] = self.c.servers
        return server.incr(key, number, default=initial, time=0)

    def delete(self, key):
        return self.c.delete(key)

    def flush(self):
        return self.c.flush_all()

    def stats(self):
        [stats] = self.c.stats().values()
        return list(stats)


class Asynchronous(Client):
    """A client made of coroutines: those of a subclass are called by their names with a_ before."""

    def __init__(self, port):
        super().__init__(port)
        self.loop = asyncio.new_event_loop()
        self.c = self.loop.run_until_complete(self.connect())

    def __getattr__(self, name):
        coroutine = getattr(type(self), f"a_{name}", None)
        if coroutine is None:
            raise Lacks(name)
        return lambda *arguments: self.loop.run_until_complete(coroutine(self, *arguments))


class Aiomcache(Asynchronous):
    async def connect(self):
        return importlib.import_module("aiomcache").Client("127.0.0.1", self.port)

    async def a_set(self, key, value, ttl):
        return await self.c.set(key.encode(), value.encode(), ttl)

    async def a_add(self, key, value):
        return await self.c.add(key.encode(), value.encode())

    async def a_replace(self, key, value):
        return await self.c.replace(key.encode(), value.encode())

    async def a_append(self, key, value):
        return await self.c.append(key.encode(), value.encode())

    async def a_prepend(self, key, value):
        return await self.c.prepend(key.encode(), value.encode())

    async def a_get(self, key):
        return await self.c.get(key.encode())

    async def a_getmulti(self, *keys):
        return dict(zip(keys, await self.c.multi_get(*(key.encode() for key in keys))))

    async def a_gets(self, key):
        value, self.unique = await self.c.gets(key.encode())
        return value

    async def a_cas(self, key, value):
        return await self.c.cas(key.encode(), value.encode(), self.unique)

    async def a_incr(self, key, number):
        return await self.c.incr(key.encode(), number)

    async def a_decr(self, key, number):
        return await self.c.decr(key.encode(), number)

    async def a_delete(self, key):
        return await self.c.delete(key.encode())

    async def a_touch(self, key, ttl):
        return await self.c.touch(key.encode(), ttl)

    async def a_flush(self):
        await self.c.flush_all()
        return True

    async def a_stats(self):
        return [name.decode() for name in await self.c.stats()]

    async def a_version(self):
        return await self.c.version()


class Emcache(Asynchronous):
    """It says no with an exception, NotStoredStorageCommandError or NotFoundCommandError."""

    async def connect(self):
        self.m = importlib.import_module("emcache")
        self.node = self.m.MemcachedHostAddress("127.0.0.1", self.port)
        return await self.m.create_client([self.node], timeout=10)

    async def said(self, coroutine):
        try:
            answer = await coroutine
        except (self.m.NotStoredStorageCommandError, self.m.NotFoundCommandError):
            return False
        return True if answer is None else answer

    async def a_set(self, key, value, ttl):
        return await self.said(self.c.set(key.encode(), value.encode(), exptime=ttl))

    async def a_add(self, key, value):
        return await self.said(self.c.add(key.encode(), value.encode()))

    async def a_replace(self, key, value):
        return await self.said(self.c.replace(key.encode(), value.encode()))

    async def a_append(self, key, value):
        return await self.said(self.c.append(key.encode(), value.encode()))

    async def a_prepend(self, key, value):
        return await self.said(self.c.prepend(key.encode(), value.encode()))

    async def a_get(self, key):
        item = await self.c.get(key.encode())
        return item and item.value

    async def a_getmulti(self, *keys):
        items = await self.c.get_many([key.encode() for key in keys])
        return {key.decode(): item.value for key, item in items.items()}

    async def a_gets(self, key):
        item = await self.c.gets(key.encode())
        self.unique = item and item.cas
        return item and item.value

    async def a_cas(self, key, value):
        return await self.said(self.c.cas(key.encode(), value.encode(), self.unique))

    async def a_incr(self, key, number):
        return await self.said(self.c.increment(key.encode(), number))

    async def a_decr(self, key, number):
        return await self.said(self.c.decrement(key.encode(), number))

    async def a_delete(self, key):
        return await self.said(self.c.delete(key.encode()))

    async def a_touch(self, key, ttl):
        return await self.said(self.c.touch(key.encode(), ttl))

    async def a_gat(self, key, ttl):
        item = await self.c.gat(ttl, key.encode())
        return item and item.value

    async def a_flush(self):
        await self.c.flush_all(self.node)
        return True

    async def a_stats(self):
        return list(await self.c.stats(self.node))

    async def a_version(self):
        return await self.c.version(self.node)


class Memcachio(Asynchronous):
    async def connect(self):
        return importlib.import_module("memcachio").Client(("127.0.0.1", self.port), decode_responses=True)

    async def a_set(self, key, value, ttl):
        return await self.c.set(key, value, expiry=ttl)

    async def a_add(self, key, value):
        return await self.c.add(key, value)

    async def a_replace(self, key, value):
        return await self.c.replace(key, value)

    async def a_append(self, key, value):
        return await self.c.append(key, value)

    async def a_prepend(self, key, value):
        return await self.c.prepend(key, value)

    async def a_get(self, key):
        item = (await self.c.get(key)).get(key)
        return item and item.value

    async def a_getmulti(self, *keys):
        return {key: item.value for key, item in (await self.c.get(*keys)).items()}

    async def a_gets(self, key):
        item = (await self.c.gets(key)).get(key)
        self.unique = item and item.cas
        return item and item.value

    async def a_cas(self, key, value):
        return await self.c.cas(key, value, self.unique)

    async def a_incr(self, key, number):
        return await self.c.incr(key, number)

    async def a_decr(self, key, number):
        return await self.c.decr(key, number)

    async def a_delete(self, key):
        return await self.c.delete(key)

    async def a_touch(self, key, ttl):
        return await self.c.touch(key, ttl)

    async def a_gat(self, key, ttl):
        item = (await self.c.gat(key, expiry=ttl)).get(key)
        return item and item.value

    async def a_flush(self):
        return await self.c.flushall()

    async def a_stats(self):
        [stats] = (await self.c.stats()).values()
        return list(stats)

    async def a_version(self):
        [version] = (await self.c.version()).values()
        return version


class MetaMemcache(Client):
    """An error is raised here, and never made a miss."""

    def __init__(self, port):
        super().__init__(port)
        self.m = m = importlib.import_module("meta_memcache")
        pool = m.HashRingConnectionPoolProvider(
            server_pool=m.build_server_pool(
                servers=[m.ServerAddress("127.0.0.1", port)],
                connection_pool_factory_fn=m.connection_pool_factory_builder(recv_timeout=10, connection_timeout=10),
            )
        )
        self.c = m.CacheClient(
            router=m.DefaultRouter(
                pool_provider=pool,
                executor=m.DefaultExecutor(serializer=m.MixedSerializer(), raise_on_server_error=True),
            )
        )

    def set(self, key, value, ttl):
        return self.c.set(key, value, ttl)

    def add(self, key, value):
        return self.c.set(key, value, 0, set_mode=self.m.SetMode.ADD)

    def replace(self, key, value):
        return self.c.set(key, value, 0, set_mode=self.m.SetMode.REPLACE)

    def append(self, key, value):
        return self.c.set(key, value, 0, set_mode=self.m.SetMode.APPEND)

    def prepend(self, key, value):
        return self.c.set(key, value, 0, set_mode=self.m.SetMode.PREPEND)

    def get(self, key):
        return self.c.get(key)

    def getmulti(self, *keys):
        return {key.key: value for key, value in self.c.multi_get(keys).items()}

    def gets(self, key):
        value, self.unique = self.c.get_cas(key)
        return value

    def cas(self, key, value):
        return self.c.set(key, value, 0, cas_token=self.unique)

    def incr(self, key, number):
        return self.c.delta_and_get(key, number)

    def decr(self, key, number):
        return self.c.delta_and_get(key, -number)

    def incrinit(self, key, number, initial):
        return self.c.delta_initialize_and_get(key, number, initial_value=initial, initial_ttl=0)

    def delete(self, key):
        return self.c.delete(key)

    def touch(self, key, ttl):
        return self.c.touch(key, ttl)

    def gat(self, key, ttl):
        return self.c.get(key, touch_ttl=ttl)


class Django(Client):
    """Django's cache, which never says that a `set` was not carried out, and calls its clients in its own way."""

    backend = None

    def __init__(self, port):
        super().__init__(port)
        conf = importlib.import_module("django.conf")
        path = f"django.core.cache.backends.memcached.{self.backend}"
        conf.settings.configure(CACHES={"default": {"BACKEND": path, "LOCATION": self.address}})
        self.c = importlib.import_module("django.core.cache").cache

    def set(self, key, value, ttl):
        self.c.set(key, value, ttl or None)
        return True

    def add(self, key, value):
        return self.c.add(key, value, None)

    def get(self, key):
        return self.c.get(key)

    def getmulti(self, *keys):
        return self.c.get_many(keys)

    def incr(self, key, number):
        try:
            return self.c.incr(key, number)
        except ValueError:
            return None

    def decr(self, key, number):
        try:
            return self.c.decr(key, number)
        except ValueError:
            return None

    def delete(self, key):
        return self.c.delete(key)

    def touch(self, key, ttl):
        return self.c.touch(key, ttl)

    def flush(self):
        self.c.clear()
        return True


class DjangoPymemcache(Django):
    backend = "PyMemcacheCache"


class DjangoPylibmc(Django):
    backend = "PyLibMCCache"


CLIENTS = {
    "pymemcache": Pymemcache,
    "pymemcache-noreply": PymemcacheNoreply,
    "python-memcached": PythonMemcached,
    "pylibmc": Pylibmc,
    "pylibmc-binary": PylibmcBinary,
    "python-binary-memcached": BinaryMemcached,
    "aiomcache": Aiomcache,
    "emcache": Emcache,
    "memcachio": Memcachio,
    "meta-memcache": MetaMemcache,
    "libmc": Libmc,
    "django-pymemcache": DjangoPymemcache,
    "django-pylibmc": DjangoPylibmc,
}
NUMBERS = {"set": (2,), "incr": (1,), "decr": (1,), "incrinit": (1, 2), "touch": (1,), "gat": (1,)}


def text(value):
    return bytes(value).decode("utf-8", "backslashreplace") if isinstance(value, (bytes, bytearray)) else str(value)


def line(*words):
    return "\t".join([words[0], *(text(word).encode().hex() for word in words[1:])])


def answer(name, result):
    if isinstance(result, dict):
        found = {text(key): value for key, value in result.items() if value is not None}
        return line("values", *(word for key in sorted(found) for word in (key, found[key])))
    if isinstance(result, list):
        return line("names", *result)
    if name in ("get", "gets", "gat", "version"):
        return line("none") if result is None else line("value", result)
    if name in ("incr", "decr", "incrinit"):
        return line("none") if result is None or result is False else line("number", result)
    return line("yes" if result else "no")


def main():
    client = CLIENTS[sys.argv[1]](int(sys.argv[2]))
    for request in sys.stdin:
        name, *words = request.rstrip("\n").split("\t")
        words = [bytes.fromhex(word).decode() for word in words]
        for index in NUMBERS.get(name, ()):
            words[index] = int(words[index])
        try:
            operation = getattr(client, name)
            reply = answer(name, operation(*words))
        except Lacks:
            reply = line("lacks")
        except Exception as error:
            reply = line("error", f"{type(error).__name__}: {error}")
        print(reply, flush=True)
    client.close()


if __name__ == "__main__":
    main()
