# Everything here is a thin name for a script in .ci/ or a build.sh beside what it builds.
# CARGO_TARGET_DIR is honoured; `make run RUN_PROFILE=dev` builds faster and runs slower.

.PHONY: help run release test guests guests-rust guests-go guests-as guests-cpp check reference setup fuzz fuzz-engines \
	conformance conformance-envoy soak bench bench-plain bench-instructions filters-table

help:
	@echo 'make run                  build all, start the demo on 127.0.0.1:8080'
	@echo 'make release              the binary to install, trained: target/release/cofferdam (half an hour)'
	@echo 'make test                 the whole suite, with guests in Rust, Go, AssemblyScript, C++'
	@echo 'make check                formatting and lints'
	@echo 'make reference            proxy/REFERENCE.md, printed by the proxy itself'
	@echo 'make guests               wasm guests only, into target/guests'
	@echo 'make setup                install or name what this machine lacks'
	@echo 'make fuzz                 ten minutes per fuzz target (FUZZ_SECONDS=600)'
	@echo 'make fuzz-engines         interpreter and native code against each other (SECONDS=600)'
	@echo 'make conformance          the ABI case by case on our hosts; CASE=E-104, HOST=null'
	@echo 'make conformance-envoy    the same on the real Envoy'
	@echo 'make soak                 whether memory grows with streams, callouts, crashes;'
	@echo '                          SOAK="--reload 60": whether requests fail while the configuration changes;'
	@echo '                          SOAK="--upgrade 60": while one process follows the other; "--ending 120": at SIGTERM;'
	@echo '                          "--promote 60": while filters move to native code; "--long 120": all at once'
	@echo '                          SOAK=--flood: what floods do to others; SOAK=--idle: what idle clients cost'
	@echo 'make bench                CPU, latency, memory beside the real Envoy and nginx; BENCH=--help'
	@echo 'make bench-plain          the rows without filters, no verdict'
	@echo 'make filters-table        size and CPU of every ready-made filter, into filters/COSTS.md'
	@echo 'make bench-instructions   instructions of one hook call and of one request'

run: guests-rust
	@.ci/demo.sh

release:
	@.ci/release.sh

test:
	@.ci/test.sh

guests: guests-rust guests-go guests-as guests-cpp

guests-rust: setup
	@filters/build.sh

guests-go:
	@examples/guests-go/build.sh

guests-as:
	@examples/guests-as/build.sh

guests-cpp:
	@conformance/guests/cpp/build.sh

check:
	@.ci/check.sh

reference:
	@.ci/reference.sh

setup:
	@.ci/setup.sh build

fuzz:
	@conformance/fuzz/run.sh $(or $(FUZZ_SECONDS),600)

fuzz-engines:
	@.ci/fuzz-engines.sh --seconds $(or $(SECONDS),600)

conformance:
	@.ci/conformance.sh $(if $(HOST),--host $(HOST)) $(if $(CASE),--case $(CASE))

conformance-envoy:
	@.ci/conformance.sh --host envoy $(if $(CASE),--case $(CASE))

soak:
	@.ci/soak.sh $(SOAK)

bench:
	@.ci/bench.sh $(BENCH)

bench-plain:
	@.ci/bench.sh --rows plain,h2c,idle

bench-instructions:
	@.ci/bench.sh instructions

filters-table:
	@.ci/bench.sh --filters-table $(BENCH)
