# make help says what there is.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
# What is installed is what this profile of Cargo built.
PROFILE ?= release
BUILT ?= $(or $(CARGO_TARGET_DIR),target)/$(PROFILE)

PROGRAMS := updaterd updaterctl updater-launch
SYSCONFDIR ?= /etc
BINDIR ?= $(PREFIX)/bin
UNITDIR ?= $(PREFIX)/lib/systemd/system
USERUNITDIR ?= $(PREFIX)/lib/systemd/user
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
CATALOGDIR ?= $(PREFIX)/lib/systemd/catalog
DBUSDIR ?= $(PREFIX)/share/dbus-1
# The bus reads policies below /usr and /etc only.
DBUSPOLICYDIR ?= $(if $(filter /usr,$(PREFIX)),/usr/share,$(SYSCONFDIR))/dbus-1/system.d
# The defaults. In /etc, where an operator may have edited them, they are not installed over.
CONFDIR ?= $(if $(filter /usr,$(PREFIX)),/usr/lib,$(SYSCONFDIR))/updaterd
MANDIR ?= $(PREFIX)/share/man

.PHONY: build
build: ## Build the programs, optimised (the default)
	$(CARGO) build --locked --release --bins

.PHONY: demo
demo: dependencies ## Boot a throw-away systemd and watch a container be updated and rolled back
	$(CARGO) test --locked --quiet --test system -- --demo

.PHONY: test
test: dependencies lint ## Everything: format, lints, unit tests, and the system tests in a booted systemd
	UPDATERD_REQUIRE_SYSTEM=1 $(CARGO) test --locked

KILLS ?= 200

.PHONY: soak
soak: dependencies ## Kill the service KILLS=200 times at random moments of updates; SEED=N for the same again
	UPDATERD_REQUIRE_SYSTEM=1 $(CARGO) test --locked --test system -- --soak $(KILLS) $(if $(SEED),--seed $(SEED))

.PHONY: lint
lint: ## Format and lints only
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	bash -n tests/box/boot tests/install-dependencies.sh .ci/run

.PHONY: fuzz-check
fuzz-check: ## See that the fuzz targets compile (fuzz/README.md)
	$(CARGO) check --manifest-path fuzz/Cargo.toml

# How long each target is run.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
# A blob of 64 KiB says what there is to say; nothing here may take half a gigabyte or ten seconds for it.
FUZZ_LIMITS := -max_len=65536 -rss_limit_mb=512 -timeout=10

.PHONY: fuzz
fuzz: ## Run each fuzz target for a minute; FUZZ_SECONDS and FUZZ_TARGETS say otherwise (fuzz/README.md)
	command -v cargo-fuzz >/dev/null || $(CARGO) install --locked cargo-fuzz
	mkdir -p $(FUZZ_TARGETS:%=fuzz/corpus/%)
	set -e; for target in $(FUZZ_TARGETS); do \
		$(CARGO) fuzz run --sanitizer none $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) $(FUZZ_LIMITS); \
	done

.PHONY: bench
bench: dependencies ## Measure against Podman, side by side in one booted systemd
	$(CARGO) build --locked --release --bins
	$(CARGO) bench --locked --bench podman

.PHONY: dependencies
dependencies: ## Install from Debian what building and testing need
	tests/install-dependencies.sh

$(PROGRAMS:%=$(BUILT)/%):
	$(CARGO) build --locked --profile $(PROFILE:debug=dev) --bins

# A unit names the programs by the path they are installed at.
define install-unit
sed 's|@bindir@|$(BINDIR)|g' systemd/$(1) > $(DESTDIR)$(2)
chmod 644 $(DESTDIR)$(2)

endef

define install-page
install -D -m 644 $(1) $(DESTDIR)$(MANDIR)/man$(2)/$(notdir $(1))

endef

.PHONY: install
install: $(PROGRAMS:%=$(BUILT)/%) ## Install below $(DESTDIR)$(PREFIX)
	install -d $(addprefix $(DESTDIR),$(BINDIR) $(UNITDIR) $(USERUNITDIR) $(TMPFILESDIR) $(CATALOGDIR) \
		$(DBUSPOLICYDIR) $(DBUSDIR)/system-services $(DBUSDIR)/services $(CONFDIR) \
		$(SYSCONFDIR)/updaterd/updaterd.d)
	install -m 755 $(PROGRAMS:%=$(BUILT)/%) $(DESTDIR)$(BINDIR)
	$(foreach unit,$(notdir $(wildcard systemd/system/*)),$(call install-unit,system/$(unit),$(UNITDIR)/$(unit)))
	$(foreach unit,$(notdir $(wildcard systemd/user/*)),$(call install-unit,user/$(unit),$(USERUNITDIR)/$(unit)))
	install -m 644 systemd/dbus/system-services/* $(DESTDIR)$(DBUSDIR)/system-services
	install -m 644 systemd/dbus/session-services/* $(DESTDIR)$(DBUSDIR)/services
	install -m 644 systemd/dbus/policy/* $(DESTDIR)$(DBUSPOLICYDIR)
	install -m 644 systemd/tmpfiles.d/* $(DESTDIR)$(TMPFILESDIR)
	install -m 644 systemd/updaterd.catalog $(DESTDIR)$(CATALOGDIR)
	$(if $(filter /usr,$(PREFIX)),,test -e $(DESTDIR)$(CONFDIR)/updaterd.toml ||) \
		install -m 644 config/updaterd.toml $(DESTDIR)$(CONFDIR)
	$(foreach page,$(wildcard docs/man/*.[1-8]),$(call install-page,$(page),$(subst .,,$(suffix $(page)))))
	$(if $(DESTDIR),,-journalctl --update-catalog)

.PHONY: help
help: ## This text
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20
