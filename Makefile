# SPDX-License-Identifier: GPL-2.0-or-later
#
# make setup | all | demo | check | check-xen | check-xen-long | check-long | bench | fuzz-NAME | lint | install | uninstall | clean
#
# Each room becomes one static library from all its .c files; folders named cmd/ hold programs' mains and subcommands.

VERSION := 0.1
B       := build
PREFIX  ?= /usr
DESTDIR ?=

CC      := gcc
PKGS    := libmnl jansson libfyaml openssl libssh2 libseccomp libzstd liblz4
CFLAGS  ?= -O2 -g
# Warnings are errors. -Wno-missing-field-initializers: tables and options name the fields that matter.
CFLAGS  += -std=c11 -D_GNU_SOURCE -I. -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wpointer-arith \
           -Wno-missing-field-initializers -fstack-protector-strong -D_FORTIFY_SOURCE=2 -pthread -MMD -MP \
           -DEDGEHOP_VERSION='"$(VERSION)"'
LDFLAGS += -pthread -Wl,-z,relro,-z,now

# Asked once, and not before the packages are there.
PKG_LIBS = $(shell pkg-config --libs $(PKGS)) -lm
CFLAGS  += $(shell pkg-config --cflags $(PKGS) 2>/dev/null)

sources = $(filter-out $(1)/cmd/%,$(shell find $(1) -name '*.c' | sort))
objects = $(patsubst %.c,$(B)/%.o,$(1))

COMMON    := $(call objects,$(call sources,common))
# The library is arithmetic; what reads and writes files is the program's. What needs the headers of patched Xen is compiled by
# scripts/build-xen-helper.
HOTSKIP   := $(call objects,$(filter-out hotskip/sim/% hotskip/xen/save_policy.c,$(call sources,hotskip)))
HOTSKIP_SIM := $(call objects,$(shell find hotskip/sim -name '*.c' 2>/dev/null | sort))
HOTSKIP_CMD := $(call objects,$(shell find hotskip/cmd -name '*.c' 2>/dev/null | sort))
NETSWITCH := $(call objects,$(filter-out netswitch/guest/%,$(call sources,netswitch)))
GUEST     := $(call objects,$(shell find netswitch/guest -name '*.c' 2>/dev/null | sort))
MIGRATE   := $(call objects,$(filter-out migrate/xen/%,$(call sources,migrate)))
FRONT     := $(call objects,$(shell find migrate/cmd -name '*.c' 2>/dev/null | sort))
KIT       := $(patsubst tests/kit/%.c,$(B)/kit/%,$(filter-out %/clock-step.c,$(wildcard tests/kit/*.c))) $(B)/kit/clock-step.so
UNITS     := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test-*.c))

PROGRAMS  := $(B)/edgehop $(B)/edgehop-guest $(B)/edgehop-hotskip

# Only edgehop-xen is linked with Xen's libraries, whose sonames change with each Xen; a machine without them builds the rest.
XEN_PKGS  := xenlight xencontrol xenforeignmemory xenstore
ifeq ($(shell pkg-config --exists $(XEN_PKGS) && echo yes),yes)
PROGRAMS  += $(B)/edgehop-xen
XEN       := $(call objects,$(shell find migrate/xen -name '*.c' | sort))
endif

.PHONY: all tools setup demo check check-units check-xen check-xen-long check-long bench lint format install uninstall clean
all: $(PROGRAMS) $(KIT)

setup:
	scripts/setup

# Said at once, and not by the compiler as the first header that is not there.
tools:
	@{ command -v $(CC) && pkg-config --exists $(PKGS); } >/dev/null 2>&1 || \
		{ echo "make: the compiler or a library is missing: run \`make setup\` as root; missing packages:" $$(scripts/setup --list); \
		exit 1; } >&2

$(B)/%.o: %.c | tools
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c -o $@ $<

$(B)/libcommon.a: $(COMMON)
$(B)/libhotskip.a: $(HOTSKIP)
$(B)/libnetswitch.a: $(NETSWITCH)
$(B)/libmigrate.a: $(MIGRATE)
$(B)/lib%.a:
	@rm -f $@
	ar rcsP $@ $^

$(B)/edgehop: $(FRONT) $(B)/libmigrate.a $(B)/libnetswitch.a $(B)/libhotskip.a $(B)/libcommon.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS)

# The agent asks as little as possible of a guest.
$(B)/edgehop-guest: $(GUEST) $(B)/libnetswitch.a $(B)/libcommon.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lmnl -ljansson

# Xen's headers want GNU's C. Our libraries' functions are hidden from its libraries: libxl calls libuuid's uuid_parse, and would
# find ours.
$(XEN): CFLAGS += -std=gnu11
$(B)/edgehop-xen: $(XEN) $(B)/libmigrate.a $(B)/libnetswitch.a $(B)/libcommon.a
	$(CC) $(CFLAGS) $(LDFLAGS) -Wl,--exclude-libs,ALL -o $@ $^ $(shell pkg-config --libs $(XEN_PKGS)) -lxentoollog $(PKG_LIBS)

# What the benchmarks measure the library with.
$(B)/bench-tools/%: tests/bench/%.c $(B)/libmigrate.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS)

$(B)/edgehop-hotskip: $(HOTSKIP_CMD) $(HOTSKIP_SIM) $(B)/libhotskip.a $(B)/libcommon.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -ljansson -lm

# Hops of disks alone, for tests in the Xen lab
$(B)/xenlab/%: tests/xenlab/%.c $(B)/libmigrate.a $(B)/libnetswitch.a $(B)/libhotskip.a $(B)/libcommon.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS)

# What the labs and benchmarks run beside the product; static, since some of it runs in the guest.
$(B)/kit/%.so: tests/kit/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fPIC -shared -o $@ $<

$(B)/kit/%: tests/kit/%.c | tools
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -static -o $@ $<

# The same program with other versions of what it writes and says, for the fault campaign: objects that name one of these are made
# anew, the rest is the library's. make build/versions/NAME/edgehop VARIANT=NAME VERSION_FLAGS=-DHELLO_VERSION=2
ifdef VARIANT
VERSIONED := $(patsubst %.c,$(B)/versions/$(VARIANT)/%.o,$(shell grep -lrE 'HELLO_|JOURNAL_|SERVE_WIRE' --include='*.c' migrate))
$(B)/versions/$(VARIANT)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(VERSION_FLAGS) -c -o $@ $<
$(B)/versions/$(VARIANT)/edgehop: $(VERSIONED) $(FRONT) $(B)/libmigrate.a $(B)/libnetswitch.a $(B)/libhotskip.a $(B)/libcommon.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS)
endif

# Unit tests also run under ASan and UBSan: a second build of everything they link.
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
$(B)/san/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(SANITIZE) -c -o $@ $<

UNIT_OBJECTS = $(patsubst $(B)/%,$(B)/san/%,$(MIGRATE) $(NETSWITCH) $(HOTSKIP) $(HOTSKIP_SIM) $(GUEST_PARTS) $(COMMON))
# the agent without its main
GUEST_PARTS  = $(filter-out %/main.o,$(GUEST))
$(B)/san/libunits.a: $(UNIT_OBJECTS)
	@rm -f $@
	ar rcsP $@ $^
$(B)/unit/%: tests/unit/%.c $(B)/san/libunits.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(SANITIZE) $(LDFLAGS) -o $@ $< $(B)/san/libunits.a -lcmocka $(PKG_LIBS)

check-units: $(UNITS)
	tests/run $(UNITS)

# A fuzz target is tests/fuzz/fuzz-NAME.c, its inputs tests/fuzz/corpus/NAME/. Its test, test-fuzz-NAME, runs the inputs without a
# fuzzer; make fuzz-NAME looks for more, with clang's.
FUZZ_SECONDS ?= 600
FUZZED  := $(patsubst tests/fuzz/fuzz-%.c,%,$(wildcard tests/fuzz/fuzz-*.c))
REPLAYS := $(FUZZED:%=$(B)/fuzz/test-fuzz-%)
FUZZ_CFLAGS := -std=c11 -D_GNU_SOURCE -I. -g -O1 -Wall -Wextra -Wno-missing-field-initializers -Werror -fsanitize=fuzzer,address,undefined \
	-fno-sanitize-recover=all -fno-omit-frame-pointer
# What a target fuzzes, compiled with it: clang's fuzzer follows the branches in there.
FUZZ_qemu-stream := $(wildcard migrate/stream/qemu_*.c) migrate/stream/cutter.c common/error.c
FUZZ_codec := migrate/codec/page_decoder.c migrate/codec/replay.c migrate/codec/payload.c migrate/codec/piece_store.c \
	migrate/codec/pieces.c common/error.c
FUZZ_LIBS_codec := -lzstd -llz4
FUZZ_coded-stream := migrate/codec/stream_decoder.c migrate/codec/coded_stream.c migrate/codec/held_pages.c migrate/codec/page_mac.c $(FUZZ_codec) $(wildcard migrate/stream/qemu_*.c migrate/stream/xen_*.c) \
	$(wildcard migrate/stream/stream_format_*.c) migrate/stream/cutter.c
FUZZ_LIBS_coded-stream := $(FUZZ_LIBS_codec) -lcrypto
FUZZ_coded-disk := migrate/codec/disk_decoder.c migrate/codec/disk_encoder.c $(FUZZ_codec) migrate/codec/page_encoder.c \
	migrate/codec/payload_lanes.c migrate/codec/front.c migrate/codec/piece_index.c migrate/codec/known_pages.c \
	migrate/codec/page_mac.c migrate/stream/nbd_reader.c migrate/stream/cutter.c
FUZZ_LIBS_coded-disk := $(FUZZ_LIBS_codec) -lcrypto -pthread
FUZZ_xen-stream := $(wildcard migrate/stream/xen_*.c) migrate/stream/cutter.c common/error.c

$(B)/fuzz/test-fuzz-%: tests/fuzz/fuzz-%.c tests/fuzz/replay.c $(B)/san/libunits.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(SANITIZE) $(LDFLAGS) -o $@ $< tests/fuzz/replay.c $(B)/san/libunits.a $(PKG_LIBS)

# What makes a target's seeds of what was recorded; by hand where nothing was.
$(B)/fuzz/seed-%: tests/fuzz/seed-%.c $(B)/san/libunits.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(SANITIZE) $(LDFLAGS) -o $@ $< $(B)/san/libunits.a $(PKG_LIBS)

$(B)/fuzz/shrink-%: tests/fuzz/shrink-%.c $(B)/san/libunits.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(SANITIZE) $(LDFLAGS) -o $@ $< $(B)/san/libunits.a $(PKG_LIBS)

.SECONDEXPANSION:
$(B)/fuzz/fuzz-%: tests/fuzz/fuzz-%.c $$(FUZZ_$$*) $(wildcard tests/fuzz/*.h migrate/stream/*.h migrate/codec/*.h)
	@mkdir -p $(@D)
	clang $(FUZZ_CFLAGS) -o $@ $(filter %.c,$^) $(FUZZ_LIBS_$*)

# What it finds goes to build/fuzz/NAME/, what breaks it to build/fuzz/NAME-crash-...
fuzz-%: setup $(B)/fuzz/fuzz-%
	@mkdir -p $(B)/fuzz/$*
	$(B)/fuzz/fuzz-$* -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=20 -print_final_stats=1 \
		$(if $(wildcard tests/fuzz/$*.dict),-dict=tests/fuzz/$*.dict) -artifact_prefix=$(B)/fuzz/$*- \
		$(B)/fuzz/$* tests/fuzz/corpus/$*

check: setup
	$(MAKE) all $(UNITS) $(REPLAYS)
	tests/run -j 2 $(UNITS) $(REPLAYS) tests/install/test-* tests/lab/test-*

# Real Xen hosts, emulated: one test at a time, each takes both cores. What a hop there is about, in half an hour; and all of it.
check-xen: setup
	$(MAKE) all
	HOP_OPTIONS=--compare-memory tests/run tests/xenlab/test-hop-and-back
	CASES="source:released destination:prepared" tests/run tests/xenlab/test-hop-power-cuts

check-xen-long: setup
	$(MAKE) all
	tests/run tests/xenlab/test-*

# Everything that takes long: what a hop must survive, forced case by case. About an hour.
check-long: setup
	$(MAKE) all
	tests/run tests/long/test-*
	tests/long/campaign --jobs 2

demo: setup
	$(MAKE) all
	scripts/demo

bench: setup
	$(MAKE) all
	tests/bench/run-all

bench-%: setup
	$(MAKE) all
	tests/bench/bench-$*

# One case of a benchmark that has many, in ten minutes or so
bench-%-quick: setup
	$(MAKE) all
	QUICK=1 tests/bench/bench-$*

lint:
	scripts/lint

format:
	clang-format -i $(shell git ls-files '*.c' '*.h')

# FILE:MODE:PLACE: what install puts under PREFIX, and uninstall takes away.
INSTALLED = $(B)/edgehop:755:sbin/edgehop $(B)/edgehop-guest:755:sbin/edgehop-guest \
	$(B)/edgehop-hotskip:755:sbin/edgehop-hotskip \
	$(if $(XEN),$(B)/edgehop-xen:755:sbin/edgehop-xen) \
	$(foreach n,5 7 8,$(foreach m,$(wildcard docs/man/*.$(n)),$(m):644:share/man/man$(n)/$(notdir $(m)))) \
	scripts/edgehop-xl-migrate:755:sbin/edgehop-xl-migrate \
	scripts/completion/edgehop:644:share/bash-completion/completions/edgehop \
	$(foreach f,$(wildcard docs/examples/*),$(f):644:share/doc/edgehop/examples/$(notdir $(f))) \
	$(foreach f,$(wildcard docs/json/*),$(f):644:share/doc/edgehop/json/$(notdir $(f))) \
	README.md:644:share/doc/edgehop/README.md docs/report.md:644:share/doc/edgehop/report.md \
	$(foreach u,$(wildcard scripts/units/*.service),$(u):644:lib/systemd/system/$(notdir $(u)))
installed_words = $(subst :, ,$(1))

# The units name the programs by their places. Nothing is enabled or started: that is the operator's.
install: all
	@$(foreach i,$(INSTALLED),install -D -m $(word 2,$(call installed_words,$(i))) \
		$(firstword $(call installed_words,$(i))) \
		$(DESTDIR)$(PREFIX)/$(word 3,$(call installed_words,$(i))) &&) true
	@sed -i 's,/usr/sbin/edgehop,$(PREFIX)/sbin/edgehop,' $(DESTDIR)$(PREFIX)/lib/systemd/system/edgehop-*.service
	@echo "installed in $(DESTDIR)$(PREFIX)"

# Configuration, VMs and journals stay.
uninstall:
	rm -f $(foreach i,$(INSTALLED),$(DESTDIR)$(PREFIX)/$(word 3,$(call installed_words,$(i))))
	rmdir -p --ignore-fail-on-non-empty $(DESTDIR)$(PREFIX)/share/doc/edgehop/examples \
		$(DESTDIR)$(PREFIX)/share/doc/edgehop/json 2>/dev/null || true

clean:
	rm -rf $(B)

# Xen's tree, which scripts/build-xen-helper keeps there, has rules of its own.
-include $(shell find $(B) -path $(B)/xen-helper -prune -o -type f -name '*.d' -print 2>/dev/null)
.SECONDARY:
