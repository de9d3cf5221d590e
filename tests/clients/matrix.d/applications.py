"""Applications and monitoring tools for ../matrix: each is set up before a port, used, and says in lines what it saw.

`trouble()` kills magent's primary, and does nothing where the port is memcached's own: what is seen before and after has
to be the same. A check gets a directory of its own, and ends what it starts.
"""

import base64
import contextlib
import os
import pathlib
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request


def run(*words, timeout=20, environment=None, input_text=None):
    """Exit status and output of a command, one string, the status as its first line."""
    done = subprocess.run(
        [str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout,
        env={**os.environ, **(environment or {})}, input=input_text or "",
    )
    return f"exit {done.returncode}\n{done.stdout.strip()}"


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def tell(port, request):
    """What is answered to a text request and quit."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(request + b"quit\r\n")
        return connection.makefile("rb").read()


def fill(port):
    """Some items and counts, for tools that show them."""
    requests = b"".join(b"set item-%d 0 0 100\r\n%s\r\n" % (number, b"x" * 100) for number in range(20))
    tell(port, requests + b"get item-1 none\r\nincr none 1\r\ndelete item-2\r\ntouch item-3 100\r\n")


@contextlib.contextmanager
def daemon(words, port):
    """A program that listens on a port, until the block is left."""
    process = subprocess.Popen(
        [str(word) for word in words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(500):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            time.sleep(0.01)
        else:
            raise OSError(f"{words[0]} does not start")
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# --- applications

APACHE = """
ServerName localhost
Listen 127.0.0.1:{listen}
PidFile {directory}/apache.pid
ErrorLog {directory}/error.log
DefaultRuntimeDir {directory}
Mutex file:{directory}
{modules}
DocumentRoot {directory}/www
{configuration}
"""
APACHE_MODULES = (
    "mpm_event", "authz_core", "authz_user", "authn_core", "auth_basic", "authn_file", "socache_memcache",
    "authn_socache", "ssl",
)


def apache(directory, configuration, listen):
    modules = pathlib.Path("/usr/lib/apache2/modules")
    (directory / "www").mkdir(exist_ok=True)
    (directory / "www/page").write_text("the page")
    for path in (directory, directory / "www", directory / "www/page"):
        path.chmod(0o755)
    loaded = "".join(f"LoadModule {name}_module {modules}/mod_{name}.so\n" for name in APACHE_MODULES)
    # As root it would not serve.
    loaded += "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
    path = directory / "apache.conf"
    path.write_text(APACHE.format(listen=listen, directory=directory, modules=loaded, configuration=configuration))
    return daemon(["apache2", "-DFOREGROUND", "-f", path], listen)


def apache_authn(directory, port, trouble):
    """A password is read from the file once, and then from memcached, also by an Apache that is started later."""
    listen = free_port()
    passwords = directory / "passwords"

    def hashed(password):
        return run("openssl", "passwd", "-apr1", "-salt", "saltsalt", password).split()[-1]

    def ask(password):
        request = urllib.request.Request(f"http://127.0.0.1:{listen}/page")
        request.add_header("Authorization", "Basic " + base64.b64encode(f"me:{password}".encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return f"{password}: {answer.status}"
        except urllib.error.HTTPError as error:
            return f"{password}: {error.code}"

    configuration = f"""
        AuthnCacheSOCache memcache:127.0.0.1:{port}
        AuthnCacheEnable
        <Location />
            AuthType Basic
            AuthName it
            AuthBasicProvider socache file
            AuthUserFile {passwords}
            AuthnCacheProvideFor file
            AuthnCacheTimeout 300
            Require valid-user
        </Location>
    """
    passwords.write_text(f"me:{hashed('first')}\n")
    with apache(directory, configuration, listen):
        yield ask("first")
        yield ask("wrong")
    # Only memcached has the first one now.
    passwords.write_text(f"me:{hashed('second')}\n")
    trouble()
    with apache(directory, configuration, listen):
        yield ask("first")
        yield ask("second")


def apache_ssl(directory, port, trouble):
    """A TLS session is resumed by its number, by another Apache than the one that made it."""
    listen = free_port()
    certificate, session = directory / "certificate.pem", directory / "session.pem"
    run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
        "-keyout", certificate, "-out", directory / "only.pem",
    )
    certificate.write_text(certificate.read_text() + (directory / "only.pem").read_text())

    def connect(how):
        said = run("openssl", "s_client", "-connect", f"127.0.0.1:{listen}", "-tls1_2", "-no_ticket", how, session)
        found = re.search(r"^(New|Reused), TLSv1\.2", said, re.MULTILINE)
        return found[0] if found else said[-200:]

    configuration = f"""
        SSLSessionCache memcache:127.0.0.1:{port}
        SSLSessionTickets off
        SSLEngine on
        SSLProtocol -all +TLSv1.2
        SSLCertificateFile {certificate}
    """
    with apache(directory, configuration, listen):
        yield connect("-sess_out")
        yield connect("-sess_in")
    trouble()
    with apache(directory, configuration, listen):
        yield connect("-sess_in")


def postfix(directory, port, trouble):
    """Postfix looks up what is in memcached, and deletes it."""
    (directory / "main.cf").write_text("compatibility_level = 3.6\n")
    table = directory / "table.cf"
    table.write_text(f"memcache = inet:127.0.0.1:{port}\nkey_format = mail-%s\n")
    postmap = ["postmap", "-c", directory]
    tell(port, b"set mail-me@here 0 0 9\r\nme@there.\r\nset mail-x@here 0 0 5\r\nx@far\r\n")
    yield run(*postmap, "-q", "me@here", f"memcache:{table}")
    yield run(*postmap, "-q", "nobody@here", f"memcache:{table}")
    yield run(*postmap, "-d", "x@here", f"memcache:{table}")
    trouble()
    yield run(*postmap, "-q", "me@here", f"memcache:{table}")
    yield run(*postmap, "-q", "x@here", f"memcache:{table}")
    yield run(*postmap, "-q", "-", f"memcache:{table}", input_text="me@here\nnobody@here\n")


def dovecot(directory, port, trouble):
    """Dovecot's dictionaries, of both protocols, are only read: its own `doveadm dict set` crashes, without magent too."""
    configuration = directory / "dovecot.conf"
    configuration.write_text(f"base_dir={directory}/run\nlog_path=/dev/stderr\nssl=no\n")

    def get(dictionary, key):
        words = ["doveadm", "-c", configuration, "dict", "get", "-u", "me"]
        return run(*words, f"{dictionary}:host=127.0.0.1:port={port}", key)

    tell(port, b"set a 0 0 5\r\nhello\r\nset me/a 0 0 5\r\nhello\r\nset shared/a 0 0 5\r\nhello\r\n")
    for _ in range(2):
        for dictionary, key in (("memcached_ascii", "shared/a"), ("memcached", "shared/a"), ("memcached_ascii", "shared/nil"),
                                ("memcached", "shared/nil")):
            yield get(dictionary, key)
        trouble()


LOCKING = """
ini_set('session.save_handler', $argv[1]);
ini_set('session.save_path', $argv[2]);
ini_set('session.use_cookies', '0');
ini_set('session.cache_limiter', '');
session_id('locked');
fwrite(STDOUT, "opens\\n");
$begin = microtime(true);
$opened = @session_start();
$waited = microtime(true) - $begin;
$_SESSION['count'] = $count = ($_SESSION['count'] ?? 0) + 1;
fwrite(STDOUT, ($opened ? 'opened' : 'not opened') . ($waited > 0.25 ? ' after a wait' : '') . ", count $count\\n");
fgets(STDIN);
session_write_close();
"""
LOCKED_SECONDS = 0.3


def locking(handler, prefix):
    """Of two that open a session, the second waits until the first has written it; what both count is counted."""

    def opening(port):
        words = ["php", "-r", LOCKING, handler, f"{prefix}127.0.0.1:{port}"]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        return process

    def close(process):
        said, _ = process.communicate("\n", timeout=20)
        return said.strip()

    def check(_, port, trouble):
        for _ in range(2):
            first = opening(port)
            yield first.stdout.readline().strip()
            second = opening(port)
            time.sleep(LOCKED_SECONDS)
            close(first)
            yield close(second)
            trouble()

    return check


# --- monitoring


def kinds(text):
    """Lines with every number made N, so that only what is said of what is left; all that are alike are one."""
    lines = [re.sub(r"\d+(\.\d+)?", "N", re.sub(r"\s+", " ", line.strip())) for line in text.splitlines()]
    return list(dict.fromkeys(lines))


def memcached_tool(_, port, trouble):
    fill(port)
    for mode in ("display", "stats", "settings", "sizes"):
        said = run("perl", "/usr/share/memcached/scripts/memcached-tool", f"127.0.0.1:{port}", mode)
        if mode in ("stats", "settings"):
            said = "\n".join(line.split()[0] for line in said.splitlines()[2:])
        elif mode == "display":
            # Which classes there are, magent's own items decide too.
            said = "\n".join(said.splitlines()[:3])
        yield from (f"{mode}: {kind}" for kind in kinds(said))
    trouble()
    yield from kinds(run("perl", "/usr/share/memcached/scripts/memcached-tool", f"127.0.0.1:{port}", "display").splitlines()[1])


def memcached_tool_dump(_, port, trouble):
    fill(port)
    trouble()
    for mode in ("dump", "keys"):
        said = run("perl", "/usr/share/memcached/scripts/memcached-tool", f"127.0.0.1:{port}", mode)
        yield from (f"{mode}: {kind}" for kind in kinds(said) if "x" * 10 not in kind)


def munin(directory, port, trouble):
    fill(port)
    environment = {"host": "127.0.0.1", "port": str(port)}
    for what in ("rates", "bytes", "counters"):
        plugin = directory / f"memcached_{what}"
        plugin.symlink_to("/usr/share/munin/plugins/memcached_")
        for mode in ("config", ""):
            yield from (f"{what}: {kind}" for kind in kinds(run("perl", plugin, *mode.split(), environment=environment)))
        if what == "rates":
            trouble()


def collectd(directory, port, trouble):
    fill(port)
    configuration = directory / "collectd.conf"
    configuration.write_text(f"""
        BaseDir "{directory}"
        PIDFile "{directory}/collectd.pid"
        TypesDB "/usr/share/collectd/types.db"
        Interval 1
        Hostname "here"
        LoadPlugin memcached
        LoadPlugin csv
        <Plugin csv>
            DataDir "{directory}/csv"
        </Plugin>
        <Plugin memcached>
            <Instance "it">
                Host "127.0.0.1"
                Port "{port}"
            </Instance>
        </Plugin>
    """)
    trouble()
    process = subprocess.Popen(
        ["collectd", "-f", "-C", configuration], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not list(directory.glob("csv/here/*/ps_count-*")):
            time.sleep(0.1)
        time.sleep(1.5)
    finally:
        process.terminate()
        process.wait(10)
    # A file each value, with the date in its name.
    yield from sorted(re.sub(r"-\d{4}-\d\d-\d\d$", "", path.name) for path in directory.glob("csv/here/*/*"))


def check_memcached(_, port, trouble):
    fill(port)
    words = ["/usr/lib/nagios/plugins/check_memcached", "-H", "127.0.0.1", "-p", port]
    yield from kinds(run(*words))
    trouble()
    yield from kinds(run(*words, "-v", "-n", "10"))


def zabbix(directory, port, trouble):
    fill(port)
    configuration = directory / "zabbix.conf"
    configuration.write_text(f"Server=127.0.0.1\nHostname=here\nLogFile={directory}/zabbix.log\n"
                             f"PluginSocket={directory}/plugin.sock\nControlSocket={directory}/control.sock\n")
    for key in ("memcached.ping", "memcached.stats"):
        said = run("zabbix_agent2", "-c", configuration, "-t", f"{key}[tcp://127.0.0.1:{port}]").replace(str(port), "PORT")
        yield from (f"{key}: {name}" for name in sorted(set(re.findall(r'"(\w+)":', said))) or kinds(said))
        trouble()


def memcstat(_, port, trouble):
    fill(port)
    for flags in ([], ["--binary"]):
        said = run("memcstat", f"--servers=127.0.0.1:{port}", *flags)
        yield from (line.split(":")[0].strip() for line in said.splitlines()[2:])
        trouble()


# Name, label, what is done, packages, what has to be there, the check, and what it has to see of a bare memcached at least.
APPLICATIONS = [
    ("php-locking", "PHP sessions, memcached", "two open one session: locking", ["php-memcached", "php-cli"], "php",
     locking("memcached", ""), "opened after a wait, count 4"),
    ("php-memcache-locking", "PHP sessions, memcache", "two open one session: locking", ["php-memcache", "php-cli"], "php",
     locking("memcache", "tcp://"), "opened after a wait, count 4"),
    ("apache-authn", "Apache mod_authn_socache", "passwords in mod_socache_memcache", ["apache2-bin", "openssl"], "apache2",
     apache_authn, "first: 200"),
    ("apache-ssl", "Apache mod_ssl", "TLS sessions in mod_socache_memcache", ["apache2-bin", "openssl"], "apache2", apache_ssl,
     "Reused, TLSv1.2"),
    ("postfix", "Postfix memcache_table", "`postmap -q`, `-d`", ["postfix"], "postmap", postfix,
     "exit 0\nme@there."),
    ("dovecot", "Dovecot dict", "`doveadm dict get`, both protocols", ["dovecot-core"], "doveadm", dovecot,
     "exit 0\nhello"),
]
MONITORS = [
    ("memcached-tool", "memcached-tool", "`display`, `stats`, `settings`, `sizes`", ["memcached"],
     "/usr/share/memcached/scripts/memcached-tool", memcached_tool, "stats: curr_items"),
    ("memcached-tool-dump", "memcached-tool", "`dump`, `keys`", ["memcached"], "/usr/share/memcached/scripts/memcached-tool",
     memcached_tool_dump, "dump: add item-N N N N"),
    ("munin", "munin memcached_", "`rates`, `bytes`, `counters`", ["munin-plugins-extra", "libcache-memcached-perl"],
     "/usr/share/munin/plugins/memcached_", munin, "counters: memcache_curr_items.value N"),
    ("collectd", "collectd memcached", "values written by csv", ["collectd-core"], "collectd", collectd,
     "memcached_items-current"),
    ("check_memcached", "check_memcached", "plain, and with its history in memcached", ["monitoring-plugins-contrib"],
     "/usr/lib/nagios/plugins/check_memcached", check_memcached, "time=N cmd_get=N cmd_set=N get_hits=N get_misses=N evictions=N"),
    ("zabbix", "Zabbix agent 2", "`memcached.ping`, `memcached.stats`", ["zabbix-agent2"], "zabbix_agent2", zabbix,
     "memcached.stats: curr_items"),
    ("memcstat", "memcstat", "plain, `--binary`", ["libmemcached-tools"], "memcstat", memcstat,
     "curr_items"),
]
