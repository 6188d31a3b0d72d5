# The commands of the project: each installs or checks what it needs first (scripts/bootstrap), then calls one script.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help bootstrap demo build run test tsan simulate e2e newer-librdkafka deploy-check api-check bench lint check clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

bootstrap: ## install the system packages that are missing
	@scripts/bootstrap

demo: ## fresh machine to running system: build, broker, database, load, exact verification (LOAD_SECONDS=20)
	@scripts/demo

build: bootstrap ## release build: .build/release/sluice and .build/release/sluice-loadtest
	@scripts/build release sluice sluice-loadtest

run: bootstrap ## the worker with config/sluice.yaml, against the Kafka and PostgreSQL it names
	@scripts/build release sluice
	@exec .build/release/sluice run --config config/sluice.yaml

test: bootstrap ## all tests that need no outside server, and the commands of README and docs/; it starts PostgreSQL and broker
	@scripts/test
	@scripts/docs-test

tsan: bootstrap ## the unit tests of Backpressure, Admission and Pipeline under ThreadSanitizer
	@scripts/tsan

simulate: bootstrap ## 100,000 random schedules of the whole pipeline under a seeded scheduler; scripts/simulate --seed N replays one
	@scripts/simulate

e2e: bootstrap ## tests on a real Apache Kafka: KAFKA_HOME=<unpacked distribution> (default ../shared/kafka)
	@scripts/e2e

newer-librdkafka: bootstrap ## the Kafka tests a second time, on the librdkafka of PyPI's confluent-kafka
	@scripts/newer-librdkafka

deploy-check: bootstrap ## Dockerfile, compose.yaml and deploy/: schemas, systemd-analyze, our own check-config
	@scripts/deploy-check

api-check: bootstrap ## every route against /openapi.json, by schemathesis; scripts/api-check --seed N repeats a run
	@scripts/api-check

bench: bootstrap ## benchmarks: prints ratios, writes Benchmarks/results/*.json
	@scripts/bench

lint: bootstrap ## format, imports, lengths, shell scripts, names in the documentation
	@scripts/lint --self-test
	@scripts/lint

check: lint test api-check deploy-check tsan simulate e2e newer-librdkafka ## everything CI runs

clean: ## remove what was built and everything private under .sluice (servers are stopped first)
	@scripts/clean
