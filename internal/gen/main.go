// Command gen writes the generated files of package asm.
//
//	go generate ./...                       # from the repository root
//	go test -C internal/gen -count=1 ./...  # fails if a file is out of date
//
// The -count=1 matters: go test caches a result until a file of the module
// changes, and asm is outside this one.
package main

import (
	"log"
	"os"
	"path/filepath"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"

	"github.com/contrastive-go/contrastive/internal/gen/amd64"
	"github.com/contrastive-go/contrastive/internal/gen/arm64"
)

const outDir = "../../asm"

var config = printer.Config{Name: "internal/gen", Pkg: "asm"}

func main() {
	files, err := generate()
	if err != nil {
		log.Fatal(err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(outDir, name), data, 0o666); err != nil {
			log.Fatal(err)
		}
	}
}

// generate returns the contents of every generated file, by name.
func generate() (map[string][]byte, error) {
	files := make(map[string][]byte)
	for name, write := range map[string]func(*build.Context){
		"vector": amd64.Vector,
		"tile":   amd64.Tile,
		"panel":  amd64.Panel,
		"split":  amd64.Split,
	} {
		c := build.NewContext()
		c.ConstraintExpr("!purego")
		write(c)
		f, err := c.Result()
		if err != nil {
			return nil, err
		}
		if err := pass.Concat(pass.Compile, pass.FunctionPass(amd64.EncodeAll)).Execute(f); err != nil {
			return nil, err
		}
		if files[name+"_amd64.s"], err = printer.NewGoAsm(config).Print(f); err != nil {
			return nil, err
		}
		if files[name+"_amd64.go"], err = printer.NewStubs(config).Print(f); err != nil {
			return nil, err
		}
	}
	for name, write := range map[string]func(*arm64.File){
		"vector": arm64.Vector,
		"tile":   arm64.Tile,
		"panel":  arm64.Panel,
	} {
		f := arm64.NewFile(config)
		write(f)
		files[name+"_arm64.s"] = f.Asm()
		var err error
		if files[name+"_arm64.go"], err = f.Decls(); err != nil {
			return nil, err
		}
	}
	return files, nil
}
