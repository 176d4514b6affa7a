# Warren's tasks. `make` lists them.

.DEFAULT_GOAL := help
ARGS ?=

.PHONY: help demo test lint deny doc bench bench-hot soak fuzz judges release deb

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

demo: toolchain ## play a signed stream through an edge on this machine; ARGS=--once checks itself and ends
	cargo run --locked --quiet --example demo -- $(ARGS)

test: toolchain ## every test that this machine can run; one SKIPPED line for each judge that is absent
	cargo test --locked --lib --bins --test it
	tests/judges/run

# The fuzz targets lock the library's dependencies too: a feature added there must be locked here.
lint: toolchain ## formatter, lints and docs, warnings denied
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo metadata --locked --format-version 1 --manifest-path $(FUZZ)/Cargo.toml >/dev/null
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --lib

deny: ## licences, bans, sources and advisories of the dependencies; where no advisories can be had, one SKIPPED line
	cargo deny --locked check licenses bans sources
	tests/advisories

bench: toolchain ## Warren against nginx, Varnish and Traffic Server on this machine; ARGS=--help
	benches/peers/run $(ARGS)

bench-hot: toolchain ## the pure functions of the request path, by criterion
	cargo bench --locked --bench hot -- $(ARGS)

# Ten thousand viewers are as many open files, in this process and in the edge's.
soak: toolchain ## pressure and endurance against the release binary, about five minutes; ARGS=--help
	cargo build --locked --release --bin warren --example soak
	ulimit -n "$$(ulimit -Hn)" && target/release/examples/soak $(ARGS)

FUZZ_TARGETS = lane token_url path range playlist config response
TARGET ?= $(FUZZ_TARGETS)
SECONDS ?= 60
FUZZ = tests/fuzz
fuzz: toolchain ## whatever bytes come, at each parser for SECONDS=60; TARGET=range is one of them
	@command -v c++ >/dev/null || { echo "c++ is needed: apt-get install g++ (or make judges)" >&2; exit 1; }
	RUSTC_WRAPPER=$(CURDIR)/$(FUZZ)/rustc cargo build --locked --manifest-path $(FUZZ)/Cargo.toml --target-dir target $(TARGET:%=--bin %)
	@set -e; mkdir -p $(FUZZ)/artifacts; for target in $(TARGET); do \
	  corpus=$(FUZZ)/corpus/$$target log=$(FUZZ)/artifacts/$$target.log; mkdir -p $$corpus; \
	  target/debug/$$target -max_total_time=$(SECONDS) -max_len=4096 -print_final_stats=1 \
	    -artifact_prefix=$(FUZZ)/artifacts/$$target- $$corpus $(FUZZ)/seeds/$$target >$$log 2>&1 \
	    || { cat $$log; exit 1; }; \
	  echo "$$target: $$(sed -n 's/^stat::number_of_executed_units: *//p' $$log) inputs"; \
	done

judges: ## install what tests/judges needs (Debian, PyPI and npm packages)
	tests/judges/install

release: toolchain ## the binary, optimised
	cargo build --locked --release

WARREN ?= target/release/warren
MANUAL ?= target/release
.PHONY: manual
manual: ## the manual pages and shell completions of WARREN=target/release/warren, into MANUAL=target/release
	$(WARREN) man $(MANUAL)/man
	mkdir -p $(MANUAL)/completions
	$(WARREN) completions bash >$(MANUAL)/completions/warren.bash
	$(WARREN) completions zsh >$(MANUAL)/completions/_warren
	$(WARREN) completions fish >$(MANUAL)/completions/warren.fish

deb: release ## the Debian package, and its debug symbols beside it, in target/debian
	@$(MAKE) --no-print-directory manual
	@PATH="$(CURDIR)/target/judges/bin:$$PATH"; command -v cargo-deb >/dev/null \
	  || { echo "cargo-deb is needed: cargo install cargo-deb --locked (or make judges)" >&2; exit 1; }; \
	cargo deb --locked --no-build --dbgsym

# What cargo needs besides Rust: a C compiler and cmake (zlib-ng, through Pingora).
.PHONY: toolchain
toolchain:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.95 or newer with rustup" >&2; exit 1; }
	@if ! command -v cc >/dev/null || ! command -v cmake >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends gcc libc6-dev cmake make; \
	  else echo "cc and cmake are needed: apt-get install gcc cmake (or the like)" >&2; exit 1; fi; fi
