package main

import (
	"testing"

	"github.com/gomlx/compute/gobackend"
)

func TestAgree(t *testing.T) {
	backend, err := gobackend.New("ops_sequential")
	if err != nil {
		t.Fatal(err)
	}
	if err := check(backend); err != nil {
		t.Error(err)
	}
}
