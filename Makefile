# magent: `make` builds it, `make demo` shows it, `make check` tests it, `make install` installs it (`make install-systemd`,
# `install-sysv` and `install-openrc` as a service), `make dist` makes the release's archive, `make deb` and `make rpm` package it,
# `make check-packages` tests the packages, `make clients` tries clients that others wrote, `make simulate` and `make bench` take as
# long as you like, `make bench-quick` two minutes, `make status-pictures` takes those of the status page.

PREFIX = /usr/local
SBINDIR = $(PREFIX)/sbin
MANDIR = $(PREFIX)/share/man
DOCDIR = $(PREFIX)/share/doc/magent
SYSCONFDIR = /etc
UNITDIR = $(PREFIX)/lib/systemd/system
SYSUSERSDIR = $(PREFIX)/lib/sysusers.d
TMPFILESDIR = $(PREFIX)/lib/tmpfiles.d
DESTDIR =

TARGET = $(or $(CARGO_TARGET_DIR),target)
BINARY = $(TARGET)/release/magent
# As they are named under share/man.
MANUALS = man5/magent.conf.5 man7/magent-guide.7 man8/magent.8 \
	zh_CN/man5/magent.conf.5 zh_CN/man7/magent-guide.7 zh_CN/man8/magent.8
SOURCES = Cargo.toml Cargo.lock $(shell find src -name '*.rs')

# What the tests need beside a Rust toolchain, as Debian packages; and what the benchmark needs.
PACKAGES = memcached libmemcached-tools mandoc netcat-openbsd prometheus \
	python3 python3-venv python3-pylibmc iproute2 nftables
BENCH_PACKAGES = memcached libmemcached-tools nutcracker python3
# What it takes to look at the status page: Chinese letters, and small files.
PICTURES_PACKAGES = memcached chromium fonts-wqy-microhei pngquant optipng
# Where the tests find their Python clients; pylibmc is Debian's, the others come from pip: module=package.
VENV = $(TARGET)/venv
PYTHON_CLIENTS = pymemcache=pymemcache memcache=python-memcached
# What `make clients` tries: clients and tools of Debian's, those that need a compiler, and those of pip and npm.
CLIENTS_PACKAGES = $(PACKAGES) php-cli php-memcached php-memcache libcache-memcached-perl libcache-memcached-fast-perl \
	libmemcached-libmemcached-perl ruby-dalli ruby-rack ruby-activesupport ruby-connection-pool nginx-light \
	libnginx-mod-http-memc apache2-bin openssl postfix dovecot-core munin-plugins-extra collectd-core \
	monitoring-plugins-contrib zabbix-agent2
CLIENTS_COMPILED = libspymemcached-java default-jdk-headless golang-go golang-github-bradfitz-gomemcache-dev
CLIENTS_PYTHON = $(PYTHON_CLIENTS) bmemcached=python-binary-memcached aiomcache=aiomcache emcache=emcache \
	memcachio=memcachio meta_memcache=meta-memcache libmc=libmc django=django
CLIENTS_NODE = memjs memcached memcache-client memcache

SUDO = $(shell [ "$$(id -u)" = 0 ] || command -v sudo)
APT_GET = $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300

# Schedules of the simulator; `make simulate SEEDS=1000000` runs more, SEED=n one with its whole trace.
SEEDS = 10000

# Streams of `make differential`, and minutes that `make fuzz` gives each of its targets.
STREAMS = 20000
MINUTES = 60
TARGETS = proxy

.PHONY: all demo check status-pictures check-packages check-container simulate simulate-faults coverage differential fuzz clients bench bench-quick rings install install-config \
	install-systemd install-sysv install-openrc uninstall dist deb rpm clean bench-tools count deps packages venv memcacheds clients-debian clients-pip clients-npm

all:
	cargo build --release --locked

# For make install, which should not need cargo where there is nothing to build.
$(BINARY): $(SOURCES)
	cargo build --release --locked

demo:
	@tests/demo/run

check:
	@tests/check

# Looks at the status page in Chromium, and takes the pictures that the READMEs show. Takes minutes.
status-pictures: all
	@$(MAKE) packages PACKAGES="$(PICTURES_PACKAGES)"
	@mkdir -p man/pictures
	@tests/status/pictures $(BINARY) man/pictures

simulate:
	SEEDS=$(SEEDS) $(if $(SEED),SEED=$(SEED)) cargo test --locked --profile simulate --test simulator -- --nocapture

# Random streams to a bare memcached and to magent, compared; SEED=n begins with another one.
differential:
	STREAMS=$(STREAMS) $(if $(SEED),SEED=$(SEED)) cargo test --locked --test differential -- --nocapture

# The fuzz targets of TARGETS, which may be proxy, request and response, for MINUTES each. See tests/fuzz/README.md.
fuzz:
	MINUTES=$(MINUTES) tests/fuzz/run $(TARGETS)

# Whether the simulator finds faults: puts some into copies of the tree, one at a time. Takes minutes.
simulate-faults:
	tests/simulator/plant

# Whether each line of the proxy that no schedule of the simulator reaches has a reason. Takes minutes.
coverage:
	tests/simulator/coverage

# Takes minutes, and installs and removes packages on this machine.
check-packages: $(BINARY)
	tests/packages/dist
	tests/packages/others
	tests/packages/deb
	tests/packages/rpm
	tests/packages/systemd

# What the Containerfile says, step by step in a bare Debian: a few hundred megabytes are fetched.
check-container:
	tests/packages/container

# Clients that others wrote, each through magent and directly; ONLY="rails emcache" tries these. Takes minutes, and installs
# packages on this machine. What cannot be had is left out, and named. See tests/clients/README.md.
clients: all
	@$(MAKE) --keep-going --ignore-errors clients-debian clients-pip clients-npm
	@tests/clients/matrix $(ONLY)

# What a request costs in instructions, allocations, copying and system calls, beside tests/bench/counts.tsv. Takes a quarter of an hour.
# ACCEPT=1 writes that table anew; ONLY="get 20" measures some rows. Needs valgrind and strace.
count:
	cargo build --locked --profile profiling --bin magent --example load
	@tests/bench/count $(TARGET)/profiling/magent $(TARGET)/profiling/examples/load \
		$(if $(ACCEPT),--accept) $(if $(ONLY),--only="$(ONLY)")

# What a request costs beside nutcracker, memcached itself and the floor: a table and pictures below $(TARGET)/bench. Wants a machine that does
# nothing else for an hour or two. OTHER=path measures another magent as well; ONLY="20 keys" some rows. See tests/bench/README.md.
bench: bench-tools
	@tests/bench/run $(BENCH_FLAGS)
	@tests/bench/protocols
	@tests/bench/resync

# The same rows as tests/bench/run, in few short rounds: whether it works at all, and no figures to keep.
bench-quick: bench-tools
	@tests/bench/run --quick $(BENCH_FLAGS)

BENCH_FLAGS = $(if $(ONLY),--only="$(ONLY)") $(if $(OTHER),--other="$(OTHER)")

bench-tools: all
	@$(MAKE) packages PACKAGES="$(BENCH_PACKAGES)"
	cargo build --release --locked --example load --example floor

# Where magent and nutcracker send keys, side by side, with every distribution, weights, names and tags.
rings: all
	@$(MAKE) packages PACKAGES="$(PACKAGES) $(BENCH_PACKAGES)"
	@tests/vectors/record --live $(BINARY)

# The release, with the crates in it: the same files give the same bytes.
dist:
	$(MAKE) -f packaging/dist.mk

deb:
	$(MAKE) -f packaging/deb.mk

rpm:
	$(MAKE) -f packaging/rpm.mk

# English manuals lie in man/ itself, those of other languages as they are installed.
install: $(BINARY)
	install -D -m 755 $(BINARY) $(DESTDIR)$(SBINDIR)/magent
	for page in $(MANUALS); do \
	    source=man/$$page; \
	    [ -e $$source ] || source=man/$${page#*/}; \
	    install -D -m 644 $$source $(DESTDIR)$(MANDIR)/$$page || exit; \
	done
	install -D -m 644 packaging/magent.conf $(DESTDIR)$(DOCDIR)/examples/magent.conf

# What a service needs beside its unit or script. A configuration that is there already is left alone.
install-config: install
	[ -e $(DESTDIR)$(SYSCONFDIR)/magent/magent.conf ] || { \
	    install -D -m 644 packaging/magent.conf $(DESTDIR)$(SYSCONFDIR)/magent/magent.conf && \
	    sed -i 's/^#state-dir/state-dir/' $(DESTDIR)$(SYSCONFDIR)/magent/magent.conf; }
	[ -e $(DESTDIR)$(SYSCONFDIR)/logrotate.d/magent ] || \
	    install -D -m 644 packaging/logrotate/magent $(DESTDIR)$(SYSCONFDIR)/logrotate.d/magent

# $(call PLACE,MODE,FROM,TO): a file that names the program, with the program where it is installed.
PLACE = install -D -m $(1) $(2) $(DESTDIR)$(3) && sed -i 's,/usr/sbin/magent,$(SBINDIR)/magent,' $(DESTDIR)$(3)

install-systemd: install-config
	for unit in magent.service magent@.service; do \
	    $(call PLACE,644,packaging/systemd/$$unit,$(UNITDIR)/$$unit) || exit; \
	done
	install -D -m 644 packaging/systemd/magent.sysusers $(DESTDIR)$(SYSUSERSDIR)/magent.conf
	install -D -m 644 packaging/systemd/magent.tmpfiles $(DESTDIR)$(TMPFILESDIR)/magent.conf
	@printf '%s\n' 'To be done on the machine that runs it, as root:' \
	    '    systemd-sysusers $(SYSUSERSDIR)/magent.conf' \
	    '    systemd-tmpfiles --create $(TMPFILESDIR)/magent.conf' \
	    '    systemctl daemon-reload && systemctl enable --now magent'

# The script needs /lib/lsb/init-functions (lsb-base) and start-stop-daemon, as Debian has them.
install-sysv: install-config
	$(call PLACE,755,packaging/init/magent.init,$(SYSCONFDIR)/init.d/magent)
	@printf '%s\n' 'To be done on the machine that runs it, as root:' \
	    '    useradd --system --no-create-home --home-dir / --shell /usr/sbin/nologin magent' \
	    '    install -d -o magent -g magent /var/lib/magent /var/log/magent' \
	    '    update-rc.d magent defaults && service magent start'

install-openrc: install-config
	$(call PLACE,755,packaging/openrc/magent,$(SYSCONFDIR)/init.d/magent)
	@printf '%s\n' 'To be done on the machine that runs it, as root:' \
	    '    addgroup -S magent && adduser -S -D -H -h / -s /sbin/nologin -G magent magent' \
	    '    install -d -o magent -g magent /var/lib/magent /var/log/magent' \
	    '    rc-update add magent && rc-service magent start'

# The configuration stays, and so does a service's script or unit that names another program.
uninstall:
	rm -f $(DESTDIR)$(SBINDIR)/magent $(DESTDIR)$(DOCDIR)/examples/magent.conf
	for page in $(MANUALS); do rm -f $(DESTDIR)$(MANDIR)/$$page || exit; done
	for file in $(UNITDIR)/magent.service $(UNITDIR)/magent@.service $(SYSCONFDIR)/init.d/magent; do \
	    ! grep -q '$(SBINDIR)/magent' $(DESTDIR)$$file 2>/dev/null || rm -f $(DESTDIR)$$file || exit; \
	done
	[ -e $(DESTDIR)$(UNITDIR)/magent.service ] || rm -f $(DESTDIR)$(SYSUSERSDIR)/magent.conf $(DESTDIR)$(TMPFILESDIR)/magent.conf
	cmp -s packaging/logrotate/magent $(DESTDIR)$(SYSCONFDIR)/logrotate.d/magent && rm -f $(DESTDIR)$(SYSCONFDIR)/logrotate.d/magent || true
	for directory in $(DESTDIR)$(DOCDIR)/examples $(DESTDIR)$(DOCDIR); do \
	    [ ! -d $$directory ] || rmdir --ignore-fail-on-non-empty $$directory || exit; \
	done

clean:
	cargo clean

# Everything that the tests need, whatever of it can be had.
deps:
	$(MAKE) --keep-going packages venv memcacheds

# Installs those of PACKAGES that are missing. `make packages PACKAGES=memcached` installs one.
packages:
	@if ! command -v apt-get >/dev/null; then \
	    echo "no apt-get here; please see to it that there is: $(PACKAGES)"; \
	    exit 0; \
	fi; \
	missing=; \
	for package in $(PACKAGES); do \
	    dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed$$' \
	        || missing="$$missing $$package"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] && [ -z "$(SUDO)" ]; then \
	    echo "please install, as root:$$missing"; \
	    exit 1; \
	fi; \
	echo "installing$$missing"; \
	$(APT_GET) update && $(APT_GET) install -y --no-install-recommends $$missing

# Debian's own Python, because python3-pylibmc is visible to no other. A library that cannot be had is named.
venv:
	@python=$(VENV)/bin/python; \
	$$python -c '' 2>/dev/null || /usr/bin/python3 -m venv --clear --system-site-packages $(VENV) || exit; \
	for client in $(PYTHON_CLIENTS); do \
	    $$python -c "import $${client%=*}" 2>/dev/null \
	        || $$python -m pip install --quiet --disable-pip-version-check $${client#*=} \
	        || { echo "pip could not install $${client#*=}"; failed=yes; }; \
	done; \
	[ -z "$$failed" ]

# One by one if they cannot be had together. They are to be run by the tests alone, so that their services are not started;
# with systemd, nginx's, Postfix's, Dovecot's and Zabbix's are.
clients-debian:
	@for list in "$(CLIENTS_PACKAGES)" "$(CLIENTS_COMPILED)"; do \
	    $(MAKE) packages PACKAGES="$$list" APT_GET="$(subst env ,env RUNLEVEL=1 ,$(APT_GET))" && continue; \
	    for package in $$list; do \
	        $(MAKE) packages PACKAGES=$$package APT_GET="$(subst env ,env RUNLEVEL=1 ,$(APT_GET))" || echo "LEFT OUT: Debian's $$package"; \
	    done; \
	done

clients-pip:
	@$(MAKE) venv VENV=$(TARGET)/venv-clients PYTHON_CLIENTS="$(CLIENTS_PYTHON)"

# Node's own packages bring npm, Debian's nodejs does not.
clients-npm:
	@command -v npm >/dev/null || $(MAKE) packages PACKAGES="nodejs npm"
	@mkdir -p $(TARGET)/node-clients && cd $(TARGET)/node-clients && for client in $(CLIENTS_NODE); do \
	    [ -e node_modules/$$client ] || npm install --no-audit --no-fund --silent $$client || echo "LEFT OUT: npm's $$client"; \
	done

# Other memcacheds than the machine's, for the tests alone: $(TARGET)/memcacheds/VERSION/memcached.
memcacheds:
	@tests/memcacheds/fetch $(TARGET)/memcacheds
