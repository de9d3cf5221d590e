#!/usr/bin/env python3
"""nginx as a memcached client for ../matrix. usage: adapter_nginx.py CLIENT PORT; it starts an nginx of its own.

The operations are requests to it: its module memc carries out all of them, its own memcached_pass only reads.
"""

import http.client
import pathlib
import socket
import subprocess
import tempfile
import time
import urllib.parse

import adapter

CONFIGURATION = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
{modules}
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_max_body_size 2m;
    client_body_buffer_size 2m;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream cache {{ server 127.0.0.1:{port}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{listen};
        location /read {{ set $memcached_key $arg_key; memcached_pass cache; }}
        location /memc {{
            set $memc_cmd $arg_cmd;
            set $memc_key $arg_key;
            set $memc_exptime $arg_exptime;
            memc_pass cache;
        }}
        location /count {{
            set $memc_cmd $arg_cmd;
            set $memc_key $arg_key;
            set $memc_value $arg_val;
            memc_pass cache;
        }}
    }}
}}
"""


class Nginx(adapter.Client):
    reads_with = "memc"

    def __init__(self, port):
        super().__init__(port)
        self.directory = tempfile.TemporaryDirectory(prefix="magent-nginx-")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.listen = free.getsockname()[1]
        modules = "".join(f"include {path};\n" for path in pathlib.Path("/etc/nginx/modules-enabled").glob("*memc*.conf"))
        configuration = pathlib.Path(self.directory.name) / "nginx.conf"
        configuration.write_text(
            CONFIGURATION.format(directory=self.directory.name, port=port, listen=self.listen, modules=modules)
        )
        self.process = subprocess.Popen(["nginx", "-c", configuration], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", self.listen), 1).close()
                return
            except OSError:
                time.sleep(0.01)
        raise OSError("nginx does not start")

    def close(self):
        self.process.terminate()
        self.process.wait(5)

    def request(self, path, method="GET", body=None, **arguments):
        """The body of the answer, or None for a 404; a refusal to store is a 409 or one of memc's 404s."""
        connection = http.client.HTTPConnection("127.0.0.1", self.listen, timeout=15)
        try:
            connection.request(method, f"/{path}?{urllib.parse.urlencode(arguments)}", body)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status in (200, 201):
            return text
        if answer.status == 404:
            return None
        raise OSError(f"HTTP {answer.status} {text[:80]}")

    def store(self, command, key, value, ttl=0):
        text = self.request("memc", "POST", value.encode(), cmd=command, key=key, exptime=ttl)
        return text is not None and text.startswith(b"STORED")

    def number(self, command, key, number):
        text = self.request("count", cmd=command, key=key, val=number)
        return text and text.decode().strip()

    def set(self, key, value, ttl):
        return self.store("set", key, value, ttl)

    def add(self, key, value):
        return self.store("add", key, value)

    def replace(self, key, value):
        return self.store("replace", key, value)

    def append(self, key, value):
        return self.store("append", key, value)

    def prepend(self, key, value):
        return self.store("prepend", key, value)

    def get(self, key):
        return self.request(self.reads_with, **({"cmd": "get"} if self.reads_with == "memc" else {}), key=key)

    def incr(self, key, number):
        return self.number("incr", key, number)

    def decr(self, key, number):
        return self.number("decr", key, number)

    def delete(self, key):
        return self.request("memc", cmd="delete", key=key) is not None

    def flush(self):
        return self.request("memc", cmd="flush_all") is not None

    def stats(self):
        return [line.split()[1] for line in self.request("memc", cmd="stats").decode().splitlines() if line.startswith("STAT")]

    def version(self):
        return self.request("memc", cmd="version").decode().split()[-1]


class NginxPass(Nginx):
    """What memc writes, memcached_pass reads."""

    reads_with = "read"


adapter.CLIENTS = {"nginx-memc": Nginx, "nginx-memcached-pass": NginxPass}

if __name__ == "__main__":
    adapter.main()
