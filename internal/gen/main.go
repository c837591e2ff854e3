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

	"github.com/mmcloughlin/avo/printer"

	"github.com/contrastive-go/contrastive/internal/gen/amd64"
	"github.com/contrastive-go/contrastive/internal/gen/arm64"
	"github.com/contrastive-go/contrastive/internal/tile"
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

// A file is assembly being written, and its Go declarations.
type file interface {
	Print() (asm, decls []byte, err error)
}

// A newFile starts a file, and returns a function that starts a level's part of it.
type newFile func(printer.Config) (file, func(suffix string, s tile.Shape) kernels)

// architectures are those of the levels, by GOARCH.
var architectures = map[string]newFile{
	"amd64": func(cfg printer.Config) (file, func(string, tile.Shape) kernels) {
		f := amd64.NewFile(cfg)
		return f, func(suffix string, s tile.Shape) kernels { return f.Asm(suffix, s) }
	},
	"arm64": func(cfg printer.Config) (file, func(string, tile.Shape) kernels) {
		f := arm64.NewFile(cfg)
		return f, func(suffix string, s tile.Shape) kernels { return f.Asm(suffix, s) }
	},
}

// generate returns the contents of every generated file, by name.
func generate() (map[string][]byte, error) {
	type started struct {
		file
		level func(suffix string, s tile.Shape) kernels
	}
	open := make(map[string]started)
	for _, l := range levels {
		for _, p := range l.parts {
			name := p.file + "_" + l.goarch
			if open[name].file == nil {
				f, level := architectures[l.goarch](config)
				open[name] = started{f, level}
			}
			p.write(open[name].level(l.Suffix(), l.shape))
		}
	}
	files := make(map[string][]byte)
	for name, f := range open {
		var err error
		if files[name+".s"], files[name+".go"], err = f.Print(); err != nil {
			return nil, err
		}
	}
	return files, nil
}
