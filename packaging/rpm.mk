# magent as RPM packages, source and binary, from the files of the working tree: `make rpm` ends up here. Whatever is
# made lands in target/rpm; the packages are under RPMS and SRPMS there.

NAME = magent

include packaging/archive.mk

TOP = $(CURDIR)/target/rpm
SPEC = packaging/rpm/$(NAME).spec

SOURCE = $(TOP)/SOURCES/$(NAME)-$(VERSION).tar.gz
VENDOR = $(TOP)/SOURCES/$(NAME)-$(VERSION)-vendor.tar.xz

# Where rpm is a guest, as on Debian, no database knows what is installed, and nobody has defined systemd's macros.
FOREIGN = $(if $(shell rpm --eval '%{?_unitdir}'),,--nodeps --load=$(CURDIR)/packaging/rpm/macros.foreign)

# The caller's habits stay outside: the spec says where cargo builds, and how.
unexport CARGO_TARGET_DIR RUSTFLAGS

SHELL = bash
.SHELLFLAGS = -o pipefail -ec

.PHONY: all sources packages tools
.DEFAULT_GOAL = all

all: sources
	@$(MAKE) --no-print-directory -f packaging/rpm.mk packages

packages:
	rm -rf $(TOP)/BUILD $(TOP)/BUILDROOT $(TOP)/RPMS $(TOP)/SRPMS
	rpmbuild -ba --clean $(FOREIGN) --define '_topdir $(TOP)' $(SPEC)

# Only $(VENDOR) needs a network.
sources: toolchain tools $(VENDOR)
	$(PACK) $(SOURCE) --use-compress-program='gzip -9n'

$(VENDOR): Cargo.lock
	mkdir -p $(@D)
	rm -rf $(TOP)/vendor
	cargo vendor --locked --quiet $(TOP)/vendor >/dev/null
	$(TAR) --directory=$(TOP) --create --use-compress-program='xz -T0' --file=$@.part vendor
	rm -rf $(TOP)/vendor
	mv $@.part $@

tools:
	@$(MAKE) --no-print-directory -f Makefile packages PACKAGES='rpm xz-utils'
