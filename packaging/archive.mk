# What dist.mk, deb.mk and rpm.mk share: the archive of a release, which depends on nothing but what is in it, and the toolchain
# in use. All packages are built from that archive.

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
RUST_VERSION := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

# The time is that of the newest entry in Debian's changelog, unless SOURCE_DATE_EPOCH says another one.
EPOCH = $${SOURCE_DATE_EPOCH:-$$(date -u -d "$$(sed -n '/^ -- /{s/.*>  //p;q}' packaging/debian/changelog)" +%s)}
TAR = tar --sort=name --owner=0 --group=0 --numeric-owner --mode=u+rw,go=rX --mtime=@$(EPOCH) --format=gnu \
	--transform='s,^,magent-$(VERSION)/,S'
# The threads of xz would have a say in what it writes.
XZ = xz --threads=1 --force
# All of the tree and its crates, below a directory of its own: $(call PACK,FILE), which ends in .tar.xz. From within an unpacked
# archive the crates are those that came with it.
PACK = packaging/files | LC_ALL=C sort --zero-terminated \
	| $(TAR) --null --no-recursion --files-from=- --create --file $(1:.xz=) \
	&& $(TAR) --directory=$(CRATES) --append --file $(1:.xz=) .cargo vendor \
	&& $(XZ) $(1:.xz=)
CRATES := $(if $(and $(wildcard vendor),$(wildcard .cargo/config.toml)),.,target/crates)
VENDORED := $(if $(filter .,$(CRATES)),,$(CRATES)/complete)

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

# Cargo wants the manifest of every crate in Cargo.lock. Of those that neither a Linux program nor its tests are made of, which are
# for other operating systems, only that is kept, and an empty file where it says that the code is. Only this needs a network.
target/crates/complete: Cargo.lock Cargo.toml packaging/archive.mk
	rm -rf $(CRATES)
	mkdir -p $(CRATES)/.cargo
	printf '%s\n' '[source.crates-io]' 'replace-with = "vendor"' '' '[source.vendor]' 'directory = "vendor"' >$(CRATES)/.cargo/config.toml
	cargo vendor --locked --quiet --versioned-dirs $(CRATES)/vendor >/dev/null
	needed=" $$(cargo tree --locked --prefix none --format '{p}' \
	    | sed 's/^\([^ ]*\) v\([^ ]*\).*/\1-\2/' | sort -u | tr '\n' ' ')"; \
	for crate in $(CRATES)/vendor/*; do \
	    case "$$needed" in *" $${crate##*/} "*) continue ;; esac; \
	    find "$$crate" -mindepth 1 ! -name Cargo.toml ! -name .cargo-checksum.json ! -type d -delete; \
	    awk '/^\[/ { skip = /^\[\[/ } !skip' "$$crate/Cargo.toml" >"$$crate/Cargo.toml.new"; \
	    mv "$$crate/Cargo.toml.new" "$$crate/Cargo.toml"; \
	    mkdir -p "$$crate/src"; \
	    touch "$$crate/src/lib.rs" "$$crate/build.rs"; \
	    library=$$(awk '/^\[/ { lib = /^\[lib\]/ } lib && /^path = / { gsub(/"/, ""); print $$3 }' "$$crate/Cargo.toml"); \
	    [ -z "$$library" ] || install -D -m 644 /dev/null "$$crate/$$library"; \
	    sed -i 's/"files":{[^}]*}/"files":{}/' "$$crate/.cargo-checksum.json"; \
	    find "$$crate" -type d -empty -delete; \
	done
	touch $@
