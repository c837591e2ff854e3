package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"hash/fnv"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// A function is a documented function of the standard library, as the words of the first
// sentence of its comment and of its code.
type function struct {
	pkg     string
	comment []string
	code    []string
}

// goRoot returns the root of the Go installation that the go command uses.
func goRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w: say --goroot", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// readCorpus reads the functions below root/src that make a pair with their comment, in
// the manner of CodeSearchNet (Husain et al., 2019): no tests and no generated files,
// comments of at least 3 words, bodies of at least 3 lines, no duplicates.
func readCorpus(root string) ([]function, error) {
	src, err := filepath.EvalSymlinks(filepath.Join(root, "src"))
	if err != nil {
		return nil, err
	}
	var files []string
	err = filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "vendor"):
			return filepath.SkipDir
		case !d.IsDir() && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go"):
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	found := make([][]function, len(files))
	errs := make([]error, len(files))
	var group sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, path := range files {
		group.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; group.Done() }()
			text, err := os.ReadFile(path)
			if err != nil {
				errs[i] = err
				return
			}
			relative, err := filepath.Rel(src, filepath.Dir(path))
			errs[i] = err
			found[i] = parseFunctions(filepath.ToSlash(relative), text)
		}()
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var all []function
	seen := map[string]bool{} // the same function for several systems
	for _, functions := range found {
		for _, f := range functions {
			key := strings.Join(f.comment, " ") + "\x00" + strings.Join(f.code, " ")
			if !seen[key] {
				seen[key] = true
				all = append(all, f)
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: has no documented functions", src)
	}
	return all, nil
}

// parseFunctions returns those of one file. One that does not parse, such as a template,
// has none.
func parseFunctions(pkg string, text []byte) (functions []function) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "", text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil || ast.IsGenerated(file) {
		return nil
	}
	code := append([]byte(nil), text...)
	for _, group := range file.Comments {
		for _, c := range group.List {
			for i := fset.Position(c.Pos()).Offset; i < fset.Position(c.End()).Offset; i++ {
				code[i] = ' '
			}
		}
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		comment := f.Doc.Text()
		summary := new(doc.Package).Synopsis(comment)
		lines := fset.Position(f.Body.End()).Line - fset.Position(f.Body.Pos()).Line + 1
		if len(strings.Fields(summary)) < 3 || lines < 3 || strings.Contains(comment, "Deprecated:") ||
			strings.ContainsFunc(summary, func(r rune) bool { return r >= utf8.RuneSelf }) {
			continue
		}
		// In Go the sentence begins with the function's name, which would give it away.
		summary = strings.Join(strings.FieldsFunc(summary, func(r rune) bool { return unicode.IsSpace(r) }), " ")
		summary = cutWord(summary, f.Name.Name)
		functions = append(functions, function{
			pkg:     pkg,
			comment: words(summary),
			code:    words(string(code[fset.Position(f.Pos()).Offset:fset.Position(f.Body.End()).Offset])),
		})
	}
	return functions
}

// cutWord removes an identifier from a text.
func cutWord(text, word string) string {
	var kept []string
	for _, field := range strings.Fields(text) {
		if strings.Trim(field, `.,;:()"'`) != word {
			kept = append(kept, field)
		}
	}
	return strings.Join(kept, " ")
}

// words returns the words of a text in lower case, without the endings of plurals and of
// the third person. Identifiers are split where their case changes: readAll is read, all
// and readall.
func words(text string) (all []string) {
	for _, identifier := range strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		parts := splitIdentifier(identifier)
		for _, p := range parts {
			all = append(all, stem(strings.ToLower(p)))
		}
		if len(parts) > 1 {
			all = append(all, strings.ToLower(identifier))
		}
	}
	return all
}

// splitIdentifier splits parseHTTP2Frame into parse, HTTP, 2 and Frame.
func splitIdentifier(identifier string) (parts []string) {
	r := []rune(identifier)
	start := 0
	for i := 1; i < len(r); i++ {
		last, here := r[i-1], r[i]
		camel := unicode.IsLower(last) && unicode.IsUpper(here)
		digits := unicode.IsDigit(last) != unicode.IsDigit(here)
		acronymEnds := unicode.IsUpper(last) && unicode.IsUpper(here) && i+1 < len(r) && unicode.IsLower(r[i+1])
		if camel || digits || acronymEnds {
			parts = append(parts, string(r[start:i]))
			start = i
		}
	}
	return append(parts, string(r[start:]))
}

func stem(w string) string {
	switch {
	case len(w) > 4 && strings.HasSuffix(w, "ies"):
		return w[:len(w)-3] + "y"
	case len(w) > 3 && strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss"):
		return w[:len(w)-1]
	}
	return w
}

// A part of the corpus. A package lies in one as a whole.
type part int

const (
	testPart part = iota
	validationPart
	trainPart
)

// partOf deals packages as the example codesearch does.
func partOf(pkg string) part {
	h := fnv.New32a()
	h.Write([]byte(pkg))
	switch h.Sum32() % 5 {
	case 0:
		return testPart
	case 1:
		return validationPart
	}
	return trainPart
}
