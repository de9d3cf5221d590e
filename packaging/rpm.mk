# magent as RPM packages, source and binary, from the archive of the release, as `make dist` makes it of the working tree: `make rpm`
# ends up here. Whatever is made lands in target/rpm; the packages are under RPMS and SRPMS there.

NAME = magent

include packaging/archive.mk

TOP = $(CURDIR)/target/rpm
SPEC = packaging/rpm/$(NAME).spec

SOURCE = $(TOP)/SOURCES/$(NAME)-$(VERSION).tar.xz

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

sources: toolchain tools $(VENDORED)
	rm -rf $(TOP)/SOURCES
	mkdir -p $(TOP)/SOURCES
	$(call PACK,$(SOURCE))

tools:
	@$(MAKE) --no-print-directory -f Makefile packages PACKAGES='rpm xz-utils'
