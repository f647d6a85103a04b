# make test needs nothing but Go; with root on Debian it installs what the
# tests of real servers and browsers use.

MODULES := . publishers uowotel monitor integration
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: run test services lint vet tidy build bench crash fuzz clean

run: ## watch this machine, with no configuration
	go run ./monitor/cmd/tocsin

test: services ## all tests, with the race detector
	go test -race -timeout 30m work

services: ## install or start what the tests of real servers use, where that may be done
	@sh .ci/services

lint: ## the linters, in each module
	@for m in $(MODULES); do (echo "lint $$m" && cd $$m && go run $(GOLANGCI) run --config $(CURDIR)/.golangci.yml ./...) || exit 1; done

vet:
	@for m in $(MODULES); do (cd $$m && go vet ./...) || exit 1; done

build: ## each module alone, as its users see it
	@for m in $(MODULES); do (cd $$m && GOWORK=off go build ./...) || exit 1; done

tidy: ## go.mod and go.sum say what is used, and no more
	@for m in $(MODULES); do (echo "tidy $$m" && cd $$m && GOWORK=off go mod tidy -diff) || exit 1; done

bench: ## the benchmarks whose results are in docs/BENCHMARKS.md
	cd integration && go run ./bench/cmd/ratios $(FLAGS)

crash: ## kill -9 tocsin KILLS times
	go test ./integration/crash -run TestCrash -count 1 -v -timeout 0 -kills $(or $(KILLS),1000)

fuzz: ## each fuzz target for FUZZTIME
	@sh .ci/fuzz $(or $(FUZZTIME),20s)

clean:
	rm -rf bin
