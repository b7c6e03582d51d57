# mwan — see README.md. `make demo` first, `make test` second.

CARGO ?= cargo
MWAN  := target/release/mwan
LAB   := target/release/mwan-lab

.PHONY: demo test test-dashboard test-old-kernel test-vm bench bench-ipfire build install setup docs lint

## demo: a router with two Internet links in network namespaces on this machine (KEEP=1 leaves it up)
demo: setup build
	$(LAB) demo --mwan $(MWAN) $(if $(KEEP),--keep)

## test: everything: unit, golden, property, simulation (10,000 worlds; MWAN_SIM_SEEDS=N for more), network namespaces, real protocols
test: setup
	$(CARGO) build --locked -p mwan -p mwan-lab
	$(CARGO) test --locked --workspace --all-features
	MWAN_BIN=$(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)/debug/mwan scripts/test-vm
	$(MAKE) test-dashboard

## test-dashboard: of these, the dashboard in real Chromium, every page, against the real daemon too; about two minutes
test-dashboard: setup
	$(CARGO) build --locked -p mwan --all-features
	MWAN_BIN=$(abspath $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target))/debug/mwan scripts/test-dashboard

## test-old-kernel: a selection of it on Debian's own kernel (6.1) in an emulated machine, about fifteen minutes
test-old-kernel: setup build
	scripts/test-old-kernel

## test-vm: of these, IPFire's connections on real protocols (PPPoE, VDSL, PPTP, GSM, DHCP) in the same emulated machine; about six minutes
test-vm: setup
	scripts/test-vm

## bench: figures and ratios against the kernel's own limit, as a table
bench: setup build
	$(CARGO) bench --quiet --locked -p mwan --bench switch
	$(CARGO) bench --quiet --locked -p mwan-config --bench check
	$(LAB) bench --mwan $(MWAN)

## bench-ipfire: what a switch of IPFire's RED takes, by packets (docs/ipfire.md); about four minutes with the build
bench-ipfire: setup
	$(CARGO) build --release --locked -p mwan --features ipfire --target-dir target/ipfire
	scripts/figures-ipfire target/ipfire/release/mwan

## build: the release binaries
build:
	$(CARGO) build --release --locked -p mwan -p mwan-lab

## install: the release binary, manual pages, completions and systemd's unit (DESTDIR, PREFIX=/usr/local; FEATURES=web,alerts for more)
install:
	$(CARGO) build --release --locked -p mwan $(if $(FEATURES),--features $(FEATURES))
	PREFIX=$(or $(PREFIX),/usr/local) DESTDIR=$(DESTDIR) scripts/install $(or $(CARGO_TARGET_DIR),target)/release/mwan

## setup: the Debian packages the above need
setup:
	scripts/setup-debian

## docs: generated pages and schemas anew
docs:
	UPDATE_DOCS=1 $(CARGO) test --locked --quiet -p mwan-config -p mwan-api -p mwan-lab -p mwan-web --lib --all-features
	UPDATE_DOCS=1 $(CARGO) test --locked --quiet -p mwan-config -p mwan-api --test '*' --all-features
	UPDATE_DOCS=1 $(CARGO) test --locked --quiet -p mwan --bin mwan --all-features cli::reference

## lint: what CI asks besides the tests
lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets --all-features -- -D warnings
	$(CARGO) deny --all-features check bans licenses sources
