package main

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"hash/fnv"
	"io/fs"
	"math"
	"os/exec"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/contrastive-go/contrastive/simd"
)

// A function is one of the standard library.
type function struct {
	pkg, name string
	summary   string // first sentence of the comment, without the name
	text      string // name, parameters and identifiers of the body
}

// standardLibrary returns the exported functions with comments of the Go installation; of
// one package if few is set.
func standardLibrary(few bool) ([]function, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	root := filepath.Join(strings.TrimSpace(string(out)), "src")
	var functions []function
	seen := map[string]bool{} // variants for other systems repeat names
	walk := func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			switch base := entry.Name(); {
			case base == "cmd", base == "internal", base == "vendor", base == "testdata":
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Name.IsExported() && f.Body != nil {
				if found := newFunction(filepath.ToSlash(dir), f); len(strings.Fields(found.summary)) > 3 && !seen[found.name] {
					seen[found.name] = true
					functions = append(functions, found)
				}
			}
		}
		return nil
	}
	if !few {
		return functions, filepath.WalkDir(root, walk)
	}
	for _, dir := range []string{"strings", "bytes", "slices", "sort", "path", "os", "time", "bufio"} {
		if err := filepath.WalkDir(filepath.Join(root, dir), walk); err != nil {
			return nil, err
		}
	}
	return functions, nil
}

func newFunction(pkg string, f *ast.FuncDecl) function {
	name := f.Name.Name
	if f.Recv != nil {
		receiver := f.Recv.List[0].Type
		if star, ok := receiver.(*ast.StarExpr); ok {
			receiver = star.X
		}
		id, ok := receiver.(*ast.Ident)
		if !ok || !id.IsExported() { // nobody calls it
			return function{}
		}
		name = id.Name + "." + name
	}
	var text strings.Builder
	text.WriteString(pkg + " " + strings.Repeat(name+" ", 3))
	ast.Inspect(f, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			text.WriteString(id.Name + " ")
		}
		return true
	})
	summary := new(doc.Package).Synopsis(f.Doc.Text())
	if first, rest, ok := strings.Cut(summary, " "); ok && strings.EqualFold(strings.Trim(first, "()"), f.Name.Name) {
		summary = rest
	}
	return function{pkg, pkg + "." + name, summary, text.String()}
}

// dim is the number of dimensions of an embedding.
const dim = 512

// embed hashes the words of a text, and their pieces of three and more letters, to signed
// places of a unit vector. The more often one occurs the less it counts.
func embed(text string) []float32 {
	counts := map[string]float64{}
	for _, word := range words(text) {
		counts[word]++
		for n := 3; n < len(word); n++ {
			counts["^"+word[:n]] += 0.5
		}
	}
	v := make([]float32, dim)
	for term, n := range counts {
		h := fnv.New64a()
		h.Write([]byte(term))
		place := h.Sum64()
		sign := float32(1)
		if place>>63 == 1 {
			sign = -1
		}
		v[place%dim] += sign * float32(math.Sqrt(n))
	}
	simd.Normalize(v, v)
	return v
}

// words returns the words of a text in lower case; a capital begins another.
func words(text string) (all []string) {
	for _, field := range strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) }) {
		start, runes := 0, []rune(field)
		for i := 1; i <= len(runes); i++ {
			if i == len(runes) || unicode.IsUpper(runes[i]) && !unicode.IsUpper(runes[i-1]) {
				all = append(all, strings.ToLower(string(runes[start:i])))
				start = i
			}
		}
	}
	return all
}
