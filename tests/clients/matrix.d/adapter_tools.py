#!/usr/bin/env python3
"""libmemcached's command line tools for ../matrix. usage: adapter_tools.py CLIENT PORT, --binary if CLIENT says so."""

import pathlib
import re
import subprocess
import tempfile

import adapter


class Tools(adapter.Client):
    """Each operation is a process. Keys are names of files."""

    flags = []

    def __init__(self, port):
        super().__init__(port)
        self.directory = tempfile.TemporaryDirectory(prefix="magent-tools-")

    def tool(self, name, *words):
        """Its output, or None if it says that it found nothing or stored nothing."""
        # memccat's output is more than the value then.
        verbose = [] if name in ("memccat", "memcstat") else ["--verbose"]
        command = [name, *verbose, f"--servers={self.address}", *self.flags, *words]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=15)
        if done.returncode == 0:
            return done.stdout
        complaint = done.stderr.decode().strip()
        if re.search("NOT FOUND|NOT STORED|DATA EXISTS", complaint):
            return None
        raise OSError(f"{name} ended with {done.returncode}: {complaint}")

    def store(self, key, value, *how):
        path = pathlib.Path(self.directory.name) / key
        path.write_bytes(value.encode())
        return self.tool("memccp", *how, str(path)) is not None

    def set(self, key, value, ttl):
        return self.store(key, value, *([f"--expire={ttl}"] if ttl else []))

    def add(self, key, value):
        return self.store(key, value, "--add")

    def replace(self, key, value):
        return self.store(key, value, "--replace")

    def get(self, key):
        """memccat does not say of what it could not read whether it is a miss: memcexist is asked."""
        path = pathlib.Path(self.directory.name) / "read"
        if self.tool("memcexist", key) is None:
            return None
        self.tool("memccat", f"--file={path}", key)
        return path.read_bytes()

    def delete(self, key):
        return self.tool("memcrm", key) is not None

    def touch(self, key, ttl):
        return self.tool("memctouch", f"--expire={ttl}", key) is not None

    def flush(self):
        return self.tool("memcflush") is not None

    def stats(self):
        lines = self.tool("memcstat").decode().splitlines()
        return [line.split(":")[0].strip() for line in lines if line.startswith(("\t", " ")) and ":" in line]

    def version(self):
        # It says it to its standard error.
        words = ["memcstat", "--server-version", f"--servers={self.address}", *self.flags]
        return subprocess.run(words, capture_output=True, text=True, timeout=15).stderr.split()[-1]


class ToolsBinary(Tools):
    flags = ["--binary"]


adapter.CLIENTS = {"memc-tools": Tools, "memc-tools-binary": ToolsBinary}

if __name__ == "__main__":
    adapter.main()
