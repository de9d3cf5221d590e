# What deb.mk and rpm.mk share: archives that depend on nothing but what is in them, and the toolchain in use.

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
RUST_VERSION := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

# The time is that of the newest entry in Debian's changelog.
EPOCH = $$(date -u -d "$$(sed -n '/^ -- /{s/.*>  //p;q}' packaging/debian/changelog)" +%s)
TAR = tar --sort=name --owner=0 --group=0 --numeric-owner --mode=u+rw,go=rX --mtime=@$(EPOCH) --format=gnu
# All of the tree, below a directory of its own: $(PACK) FILE.
PACK = packaging/files | $(TAR) --transform='s,^,magent-$(VERSION)/,S' --null --no-recursion --files-from=- --create --file

# What counts is the cargo that is called, whatever else is installed. The commands of rustup look for the toolchain in
# HOME, which debhelper and rpmbuild may hide; so its own directory is put in front.
RUSTUP_CARGO := $(shell case "$$(realpath -q "$$(command -v cargo)")" in (*/rustup) rustup which cargo ;; esac)
ifneq ($(RUSTUP_CARGO),)
export PATH := $(patsubst %/,%,$(dir $(RUSTUP_CARGO))):$(PATH)
endif

# Says in one line what cargo would fail of somewhere in the middle.
.PHONY: toolchain
toolchain:
	@found=$$(rustc --version 2>/dev/null | cut -d ' ' -f 2); \
	if ! printf '%s\n' $(RUST_VERSION) "$${found:-0}" | sort -V -C || ! command -v cargo >/dev/null; then \
	    echo "magent needs Rust $(RUST_VERSION) or newer, and cargo; here is rustc $${found:-none}: see README.md, Install" >&2; \
	    exit 1; \
	fi
