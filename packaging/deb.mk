# Debian packages from this tree: `make -f packaging/deb.mk`, or `make deb`.
#
#   deb           the package, in $(OUT), from the archive of the release, as `make dist` makes it; no network is used meanwhile
#   source        the Debian source package: that archive, and debian/
#   lintian       the package is checked; errors and warnings fail
#   reproducible  the package is built twice, in two directories; the two must be the same, byte by byte
#
# BUILD_SUFFIX=+b1 appends to the version. UPSTREAM=FILE builds from an archive that an earlier build left in $(OUT), rather
# than from the tree as it is now.

SHELL = /bin/bash
.SHELLFLAGS = -euo pipefail -c
.DELETE_ON_ERROR:

OUT = target/deb
BUILD_SUFFIX =
UPSTREAM =
APT_GET = $(shell [ "$$(id -u)" = 0 ] || command -v sudo) env DEBIAN_FRONTEND=noninteractive \
	apt-get -q -o DPkg::Lock::Timeout=300

.DEFAULT_GOAL = deb

include packaging/archive.mk

TREE = $(OUT)/magent-$(VERSION)
ORIG = $(OUT)/magent_$(VERSION).orig.tar.xz

# What a build would be changed by.
CLEAN_ENVIRONMENT = env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS -u CARGO_TARGET_DIR -u CARGO_BUILD_TARGET -u MAKEFLAGS \
	-u MAKELEVEL -u MFLAGS -u DEB_BUILD_OPTIONS LC_ALL=C.UTF-8

# dpkg-buildpackage is told not to check what is needed to build (-d), because dpkg knows of Debian's own cargo only, in use
# or not: `tools` and `toolchain` check it.
.PHONY: deb source lintian reproducible tools tree

deb: tree
	cd $(TREE) && $(CLEAN_ENVIRONMENT) dpkg-buildpackage -b -us -uc -d
	@ls -l $(OUT)/*.deb

source: tree
	cd $(TREE) && $(CLEAN_ENVIRONMENT) dpkg-buildpackage -S -us -uc -d

lintian: deb
	@command -v lintian >/dev/null || { $(APT_GET) update && $(APT_GET) install -y --no-install-recommends lintian; }
	lintian --allow-root --fail-on error,warning --info $(OUT)/magent_*_*.changes

reproducible:
	$(MAKE) -f packaging/deb.mk deb OUT=target/deb-1
	$(MAKE) -f packaging/deb.mk deb OUT=target/deb-second/a-longer-path UPSTREAM=target/deb-1/$(notdir $(ORIG))
	cd target/deb-1 && for package in *.deb; do \
	    cmp "$$package" ../deb-second/a-longer-path/"$$package"; sha256sum "$$package"; done
	rm -rf target/deb-1 target/deb-second

tools:
	@missing=; \
	for package in debhelper dpkg-dev gcc libc6-dev xz-utils; do \
	    [ "$$(dpkg-query -W -f '$${db:Status-Status}' $$package 2>/dev/null)" = installed ] || missing+=" $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
	    echo "installing$$missing"; \
	    $(APT_GET) update && $(APT_GET) install -y --no-install-recommends $$missing; \
	fi

# The tree to build from: its files as they are here, and the crates; debian/ at its top.
tree: toolchain tools $(ORIG)
	rm -rf $(TREE) $(OUT)/*.deb $(OUT)/*.changes $(OUT)/*.buildinfo
	tar -C $(OUT) -xf $(ORIG)
	cp -r $(TREE)/packaging/debian $(TREE)/debian
	changelog=$(TREE)/debian/changelog; \
	case "$$(head -n 1 $$changelog)" in \
	    "magent ($(VERSION)-"*) ;; \
	    *) echo "packaging/debian/changelog is not of version $(VERSION), as Cargo.toml is" >&2; exit 1 ;; \
	esac; \
	[ -z "$(BUILD_SUFFIX)" ] || sed -i '1s/)/$(BUILD_SUFFIX))/' $$changelog

.PHONY: $(ORIG)
$(ORIG): $(if $(UPSTREAM),,$(VENDORED))
	mkdir -p $(OUT)
	if [ -n "$(UPSTREAM)" ]; then cp "$(UPSTREAM)" $@; exit; fi; \
	$(call PACK,$@)
