.PHONY: test generate ci

test:
	go test ./...

generate:
	go generate ./...

ci:
	bash .ci/run
