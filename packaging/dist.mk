# The archive of the release, with the crates in it, and its checksum: `make dist` ends up here. It has the same bytes whenever and
# wherever it is made of the same files, from an unpacked archive too.

SHELL = /bin/bash
.SHELLFLAGS = -euo pipefail -c
.DELETE_ON_ERROR:

OUT = target/dist

.PHONY: dist
.DEFAULT_GOAL = dist

include packaging/archive.mk

ARCHIVE = $(OUT)/magent-$(VERSION).tar.xz

dist: $(VENDORED)
	rm -rf $(OUT)
	mkdir -p $(OUT)
	$(call PACK,$(ARCHIVE))
	cd $(OUT) && sha256sum $(notdir $(ARCHIVE)) >SHA256SUMS
	@cat $(OUT)/SHA256SUMS
