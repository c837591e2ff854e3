package contrastive_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestExamples checks that every exported type, function, constant and variable of all
// public packages, those of nested modules included, is shown in an Example.
func TestExamples(t *testing.T) {
	packages := 0
	err := filepath.WalkDir(".", func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		switch name := d.Name(); {
		case dir == ".":
		case dir == "asm", dir == "bench", dir == "examples", name == "internal", name == "testdata", strings.HasPrefix(name, "."), strings.HasPrefix(name, "_"):
			return filepath.SkipDir
		}
		fset := token.NewFileSet()
		files, tests := parseDir(t, fset, dir)
		if len(files) == 0 || files[0].Name.Name == "main" {
			return nil
		}
		packages++
		for _, name := range notShown(t, fset, dir, files, tests) {
			t.Errorf("package in %s: %s is in no Example", dir, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if packages < 7 { // of this module
		t.Errorf("only %d packages have been found", packages)
	}
}

// parseDir returns the files of a package, and those of its tests.
func parseDir(t *testing.T, fset *token.FileSet, dir string) (files, tests []*ast.File) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, "_test.go") {
			tests = append(tests, f)
		} else {
			files = append(files, f)
		}
	}
	return files, tests
}

// notShown returns the exported names of a package that no Example is for, or has in its
// body. With a function that returns a type, the type is shown.
func notShown(t *testing.T, fset *token.FileSet, dir string, files, tests []*ast.File) (names []string) {
	t.Helper()
	p, err := doc.NewFromFiles(fset, files, dir)
	if err != nil {
		t.Fatal(err)
	}
	shown := make(map[string]bool)
	for _, f := range tests {
		for _, d := range f.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(f.Name.Name, "Example") {
				continue
			}
			of, _, _ := strings.Cut(strings.TrimPrefix(f.Name.Name, "Example"), "_")
			shown[of] = true
			ast.Inspect(f.Body, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := s.X.(*ast.Ident); ok && x.Name == p.Name {
						shown[s.Sel.Name] = true
					}
				}
				return true
			})
		}
	}
	need := func(name string) {
		if ast.IsExported(name) && !shown[name] {
			names = append(names, name)
		}
	}
	values := append(p.Consts, p.Vars...)
	funcs := p.Funcs
	for _, typ := range p.Types {
		values = append(append(values, typ.Consts...), typ.Vars...)
		for _, f := range typ.Funcs {
			shown[typ.Name] = shown[typ.Name] || shown[f.Name]
		}
		funcs = append(funcs, typ.Funcs...)
		need(typ.Name)
	}
	for _, v := range values {
		for _, name := range v.Names {
			need(name)
		}
	}
	for _, f := range funcs {
		need(f.Name)
	}
	return names
}
