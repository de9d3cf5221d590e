# magent as RPM packages, source and binary, from the files of the working tree: `make rpm` ends up here. Whatever is
# made lands in target/rpm; the packages are under RPMS and SRPMS there.

NAME = magent
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p;T;q' Cargo.toml)
TOP = $(CURDIR)/target/rpm
SPEC = packaging/rpm/$(NAME).spec

SOURCE = $(TOP)/SOURCES/$(NAME)-$(VERSION).tar.gz
VENDOR = $(TOP)/SOURCES/$(NAME)-$(VERSION)-vendor.tar.xz

# An archive depends on nothing but what is in it: not on who packs it, nor when.
TAR = tar --create --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
	--mtime=@$$(git log -1 --format=%ct)

# Where rpm is a guest, as on Debian, no database knows what is installed, and nobody has defined systemd's macros.
FOREIGN = $(if $(shell rpm --eval '%{?_unitdir}'),,--nodeps --load=$(CURDIR)/packaging/rpm/macros.foreign)

# The caller's habits stay outside: the spec says where cargo builds, and how.
unexport CARGO_TARGET_DIR RUSTFLAGS

SHELL = bash
.SHELLFLAGS = -o pipefail -ec

.PHONY: all sources packages tools

all: sources
	@$(MAKE) --no-print-directory -f packaging/rpm.mk packages

packages:
	rm -rf $(TOP)/BUILD $(TOP)/BUILDROOT $(TOP)/RPMS $(TOP)/SRPMS
	rpmbuild -ba --clean $(FOREIGN) --define '_topdir $(TOP)' $(SPEC)

# What git tracks or would track, as it lies in the working tree now. Only this target needs git, and only $(VENDOR) a
# network.
sources: tools $(VENDOR)
	git ls-files -z --cached --others --exclude-standard \
	    | xargs -0 sh -c 'for file; do [ ! -e "$$file" ] || printf "%s\0" "$$file"; done' sh \
	    | $(TAR) --null --files-from=- --transform='flags=r;s,^,$(NAME)-$(VERSION)/,' \
	        --use-compress-program='gzip -9n' --file=$(SOURCE)

$(VENDOR): Cargo.lock
	mkdir -p $(@D)
	rm -rf $(TOP)/vendor
	cargo vendor --locked --quiet $(TOP)/vendor >/dev/null
	$(TAR) --directory=$(TOP) --use-compress-program='xz -T0' --file=$@.part vendor
	rm -rf $(TOP)/vendor
	mv $@.part $@

tools:
	@$(MAKE) --no-print-directory -f Makefile packages PACKAGES='rpm xz-utils'
