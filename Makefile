# Peel's entry points. `make test` is what CI runs; the end-to-end half of it needs root on Debian 12.
#
#   make demo           a web application from overlayfs and from Peel, cold and warm, and a table
#   make bench          what Peel costs beside overlayfs: target/bench/report.json, target/bench/index.html
#                       (ONLY=prefix,prefix measures the rows whose names begin so)
#   make test           all tests
#   make test-unit      those that need no root and no containerd
#   make check          formatting and lints
#   make fuzz           the parsers of erofs/ and layer/ under libFuzzer, FUZZ_SECONDS each (60); stops at the first finding
#                       (ONLY=ztoc,tar runs these)
#   make install-deps   the Debian packages of integration/packages.txt
#   make install        the release build, systemd's units and an example configuration
#                       (PREFIX=/usr/local, DESTDIR=, BINARY=target/release/peel)
#   make uninstall      takes all of that away; refused while containers run on Peel

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
PREFIX ?= /usr/local
BINARY ?= target/release/peel
PACKAGES = $(shell sed 's/\#.*//' integration/packages.txt)

.PHONY: help
help:
	@sed -n 's/^#   //p' Makefile

# Quick when all is there: no package list is fetched then.
.PHONY: install-deps
install-deps:
	@installed=$$(dpkg-query -W -f '$${Package} $${db:Status-Status}\n' $(PACKAGES) 2>/dev/null || true); \
	missing=$$(comm -13 <(sed -n 's/ installed$$//p' <<<"$$installed" | sort) \
	    <(printf '%s\n' $(PACKAGES) | sort)); \
	if [[ -n "$$missing" ]]; then \
	    echo "installing" $$missing; \
	    apt-get update -q; \
	    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing; \
	fi

# Two builds: one would share features, and the daemon would get what is made for tests.
.PHONY: demo
demo: install-deps
	$(CARGO) build --release -p peel-snapshotter --bin peel
	$(CARGO) build --release -p peel-integration --bin demo
	target/release/demo $(DEMO_FLAGS)

# The release build of what is measured and of what measures, apart from the dev build of the tests.
.PHONY: bench
bench: install-deps
	$(CARGO) build --release -p peel-snapshotter --bin peel
	$(CARGO) build --release -p peel-integration --bin bench
	target/release/bench --only "$(ONLY)" $(BENCH_FLAGS)

# Packages first: unit tests of layers use tar, pigz and zstd as oracles.
.PHONY: test
test: install-deps test-unit test-integration

.PHONY: test-unit
test-unit:
	$(CARGO) test

# One test at a time: each starts several daemons and there are two cores. The daemon under test is the one beside
# the test programs, so it is built first.
.PHONY: test-integration
test-integration: install-deps
	$(CARGO) build -p peel-snapshotter --bin peel
	$(CARGO) test -p peel-integration -- --test-threads=1

.PHONY: check
check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

# Coverage as cargo-fuzz has it, on the stable toolchain. Dependencies have the versions that the daemon has; what was found
# interesting stays in target/fuzz for the next run. An input that takes 20 seconds or 1 GiB is a finding, too.
FUZZ_SECONDS ?= 60
FUZZ_TARGET = $(shell rustc --print host-tuple)
FUZZ_FLAGS = --cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
.PHONY: fuzz
fuzz:
	@for crate in erofs layer; do \
	    cp Cargo.lock $$crate/fuzz/; \
	    RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) build --release --manifest-path $$crate/fuzz/Cargo.toml \
	        --target $(FUZZ_TARGET) --target-dir target/fuzz; \
	    for source in $$crate/fuzz/fuzz_targets/*.rs; do \
	        name=$$(basename "$$source" .rs); \
	        [[ -z "$(ONLY)" || ",$(ONLY)," == *",$$name,"* ]] || continue; \
	        seeds=$$crate/tests/corpus$$([[ $$crate == erofs ]] || echo "/$$name"); \
	        mkdir -p target/fuzz/corpus/$$name target/fuzz/findings/$$name; \
	        echo "fuzzing $$name for $(FUZZ_SECONDS) s"; \
	        nice target/fuzz/$(FUZZ_TARGET)/release/$$name -max_total_time=$(FUZZ_SECONDS) -timeout=20 \
	            -rss_limit_mb=1024 -verbosity=0 -print_final_stats=1 \
	            -artifact_prefix=target/fuzz/findings/$$name/ target/fuzz/corpus/$$name "$$seeds"; \
	    done; \
	done

.PHONY: release
release:
	$(CARGO) build --release -p peel-snapshotter --bin peel

# Where systemd looks, also below /usr/local. A file is replaced, never written into: who runs the old one goes on.
BIN = $(DESTDIR)$(PREFIX)/bin
UNITS = $(DESTDIR)$(PREFIX)/lib/systemd/system
MOUNTS = $(UNITS)/var-lib-peel-.mount.d/peel.conf
TMPFILES = $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/peel.conf
MODULES = $(DESTDIR)$(PREFIX)/lib/modules-load.d/peel.conf
EXAMPLE = $(DESTDIR)$(PREFIX)/share/peel/config.toml
CONFIG = $(DESTDIR)/etc/peel/config.toml
UNIT_FILES = peel.service peel-hold.service peel.socket

# The configuration that is there stays. Nothing is started: docs/operations.md says what comes next.
.PHONY: install
install: $(if $(filter target/release/peel,$(BINARY)),release)
	install -D -m 0755 $(BINARY) $(BIN)/peel.new
	mv $(BIN)/peel.new $(BIN)/peel
	for unit in $(UNIT_FILES); do \
	    install -D -m 0644 systemd/$$unit $(UNITS)/$$unit; \
	    sed -i 's|/usr/bin/peel|$(PREFIX)/bin/peel|' $(UNITS)/$$unit; \
	done
	install -D -m 0644 systemd/var-lib-peel-.mount.conf $(MOUNTS)
	install -D -m 0644 systemd/tmpfiles.d/peel.conf $(TMPFILES)
	install -D -m 0644 systemd/modules-load.d/peel.conf $(MODULES)
	install -D -m 0644 systemd/config.toml $(EXAMPLE)
	[[ -e $(CONFIG) ]] || install -D -m 0644 systemd/config.toml $(CONFIG)

# With a DESTDIR only files go. Without, everything is stopped and unmounted first, unless containers run on Peel;
# /etc/peel and /var/lib/peel stay.
.PHONY: uninstall
uninstall:
ifeq ($(DESTDIR),)
	$(BIN)/peel unmount --check
	systemctl disable --now peel.socket peel.service
	$(BIN)/peel unmount
	$(BIN)/peel hold --stop || true
	systemctl disable peel-hold.service
endif
	rm -f $(BIN)/peel $(addprefix $(UNITS)/,$(UNIT_FILES)) $(MOUNTS) $(TMPFILES) $(MODULES) $(EXAMPLE)
	rmdir --ignore-fail-on-non-empty $(dir $(MOUNTS)) $(dir $(EXAMPLE))
ifeq ($(DESTDIR),)
	systemctl daemon-reload
endif
