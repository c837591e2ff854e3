package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/doc"
	"go/parser"
	"go/token"
	"hash/fnv"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Function is a function declaration of the standard library.
type Function struct {
	Package   string // import path
	Receiver  string // receiver's type without star and type arguments, or ""
	Name      string
	Summary   string // first sentence of the doc comment
	Doc       string // the whole doc comment
	Signature string // source: receiver, type parameters, parameters, results
	Body      string // source, without comments; empty for one in assembly
	File      string // relative to GOROOT/src
	Line      int
	Paired    bool    // with its comment: it passed the filters, and is no duplicate
	Built     bool    // for this system, not only for others
	Uses      float64 // estimated, in files of other packages
	Importers int     // packages that import its package
}

// String returns the name by which a user of the package would call f.
func (f *Function) String() string { return packageName(f.Package) + "." + f.method() }

// FullName returns the import path and the name of f.
func (f *Function) FullName() string { return f.Package + "." + f.method() }

func (f *Function) method() string {
	if f.Receiver != "" {
		return f.Receiver + "." + f.Name
	}
	return f.Name
}

// packageName returns the name of the package with an import path: rand for
// math/rand/v2, since an element such as v2 is a major version.
func packageName(path string) string {
	elements := strings.Split(path, "/")
	last := elements[len(elements)-1]
	if number, ok := strings.CutPrefix(last, "v"); ok && len(elements) > 1 {
		if _, err := strconv.Atoi(number); err == nil {
			return elements[len(elements)-2]
		}
	}
	return last
}

// Exported reports whether f can be called by every Go program.
func (f *Function) Exported() bool {
	return ast.IsExported(f.Name) && (f.Receiver == "" || ast.IsExported(f.Receiver)) &&
		f.Package != "cmd" && !strings.HasPrefix(f.Package, "cmd/") &&
		!slices.Contains(strings.Split(f.Package, "/"), "internal")
}

// Counts says how many functions there are, and for what reason documented ones
// make no pair.
type Counts struct {
	Files, GeneratedFiles    int
	Functions, Documented    int // outside generated files
	Deprecated, ShortSummary int
	NonASCII, ShortBody      int
	Duplicates               int
	Pairs, Packages          int
}

func (c *Counts) String() string {
	return fmt.Sprintf("%d functions in %d files (%d more files are generated), %d of them documented\n"+
		"left out: %d deprecated, %d with a first sentence below 3 words, %d not in ASCII, %d with a body below 3 lines, %d duplicates\n"+
		"%d pairs of comment and function in %d packages",
		c.Functions, c.Files-c.GeneratedFiles, c.GeneratedFiles, c.Documented,
		c.Deprecated, c.ShortSummary, c.NonASCII, c.ShortBody, c.Duplicates, c.Pairs, c.Packages)
}

// A Corpus is the functions of a Go release.
type Corpus struct {
	Library
	Functions []Function
	Synopsis  map[string]string // first sentence of a package's comment, by import path
	Counts    Counts
}

// A Library is an installed standard library, as it is built for one system.
type Library struct {
	Root    string // GOROOT
	Version string // the file VERSION: release and time; "" for a development tree
	System  string // linux/amd64
}

// Release returns what go version says, such as go1.26.8.
func (l Library) Release() string {
	if l.Version == "" {
		return "an unreleased Go"
	}
	line, _, _ := strings.Cut(l.Version, "\n")
	return line
}

// NewLibrary describes the library in root, or in that of the go command for "".
func NewLibrary(root string) (Library, error) {
	if root == "" {
		out, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			return Library{}, fmt.Errorf("go env GOROOT: %w; use -goroot", err)
		}
		root = strings.TrimSpace(string(out))
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return Library{}, err
	}
	version, _ := os.ReadFile(filepath.Join(root, "VERSION")) // a development tree has none
	return Library{root, strings.TrimSpace(string(version)), build.Default.GOOS + "/" + build.Default.GOARCH}, nil
}

var errNoSource = errors.New("no Go source found")

// LoadCorpus reads the functions of a library. Which of them are paired with
// their comments is decided in the manner of CodeSearchNet (Husain et al., 2019,
// arXiv:1909.09436): no tests and no generated files, comments of at least 3
// words, bodies of at least 3 lines, no duplicates. Files for all systems count.
func LoadCorpus(l Library) (*Corpus, error) {
	src, err := filepath.EvalSymlinks(filepath.Join(l.Root, "src")) // a link in some distributions
	if err != nil {
		return nil, fmt.Errorf("%w in %s: %w", errNoSource, l.Root, err)
	}
	files, err := goFiles(src)
	if err != nil {
		return nil, err
	}
	parsed := make([]fileResult, len(files))
	parallel(len(files), 16, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			parsed[i] = parseFile(src, files[i])
		}
	})
	c := &Corpus{Library: l, Synopsis: map[string]string{}}
	seen := map[[sha256.Size]byte]bool{}
	for _, p := range parsed {
		if p.err != nil {
			return nil, p.err
		}
		c.add(p, seen)
	}
	if c.Counts.Pairs == 0 {
		return nil, fmt.Errorf("%w in %s", errNoSource, src)
	}
	packages := map[string]bool{}
	for _, f := range c.Paired() {
		packages[f.Package] = true
	}
	c.Counts.Packages = len(packages)
	c.countUses(parsed)
	c.countImporters(parsed)
	return c, nil
}

// Paired returns the functions that are paired with their comments and lie in
// one of the splits, or in any if none is given.
func (c *Corpus) Paired(splits ...Split) (paired []*Function) {
	for i := range c.Functions {
		f := &c.Functions[i]
		if f.Paired && (len(splits) == 0 || slices.Contains(splits, SplitOf(f.Package))) {
			paired = append(paired, f)
		}
	}
	return paired
}

// Fingerprint tells corpora apart, also those of unreleased versions of Go.
func (c *Corpus) Fingerprint() uint64 {
	h := fnv.New64a()
	for _, f := range c.Paired() {
		for _, s := range []string{f.Package, f.Receiver, f.Name, f.Doc, f.Body} {
			h.Write([]byte(s))
			h.Write([]byte{0})
		}
	}
	return h.Sum64()
}

// goFiles lists the Go files below src that are neither tests nor vendored.
func goFiles(src string) (files []string, err error) {
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
	return files, err
}

// A fileResult is what one file contributes to a corpus.
type fileResult struct {
	path      string // of the package
	synopsis  string // of it, if it is in this file
	functions []Function
	counts    Counts
	imports   map[string]string // import path of a name
	selected  map[string]int    // how often x.Name occurs, by "x.Name" if x is an import, else by ".Name"
	err       error
}

func parseFile(src, path string) (r fileResult) {
	text, err := os.ReadFile(path)
	if err != nil {
		return fileResult{err: err}
	}
	rel, err := filepath.Rel(src, path)
	if err != nil {
		return fileResult{err: err}
	}
	r = parseSource(filepath.ToSlash(rel), text)
	built, err := build.Default.MatchFile(filepath.Split(path))
	for i := range r.functions {
		r.functions[i].Built = built && err == nil
	}
	return r
}

// parseSource finds the functions of one file. A file that does not parse, such
// as a template, has none.
func parseSource(file string, text []byte) (r fileResult) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return r
	}
	r.counts.Files = 1
	generated := ast.IsGenerated(f)
	counts := &r.counts
	if generated {
		counts.GeneratedFiles = 1
		counts = new(Counts)
	}
	code := blankComments(fset, f, text)
	offset := func(p token.Pos) int { return fset.Position(p).Offset }
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		out := Function{
			Package: packageOf(file),
			Name:    fn.Name.Name,
			File:    file,
			Line:    fset.Position(fn.Pos()).Line,
		}
		out.Signature = code[offset(fn.Name.End()):offset(fn.Type.End())]
		short := true
		if fn.Body != nil {
			counts.Functions++
			out.Signature = code[offset(fn.Name.End()):offset(fn.Body.Pos())]
			out.Body = code[offset(fn.Body.Pos()):offset(fn.Body.End())]
			short = fset.Position(fn.Body.End()).Line-fset.Position(fn.Body.Pos()).Line+1 < 3
		}
		if fn.Recv != nil && len(fn.Recv.List) == 1 {
			out.Receiver = typeName(fn.Recv.List[0].Type)
			out.Signature = out.Receiver + " " + out.Signature
		}
		out.Doc = fn.Doc.Text()
		out.Summary = new(doc.Package).Synopsis(out.Doc)
		out.Paired = fn.Body != nil && counts.filter(&out, short) && !generated
		r.functions = append(r.functions, out)
	}
	r.path, r.synopsis = packageOf(file), new(doc.Package).Synopsis(f.Doc.Text())
	r.imports, r.selected = selectors(f)
	return r
}

// selectors returns the imports of a file and what it selects of them and of
// other operands.
func selectors(f *ast.File) (imports map[string]string, selected map[string]int) {
	imports, selected = map[string]string{}, map[string]int{}
	for _, i := range f.Imports {
		path, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			continue
		}
		name := packageName(path)
		if i.Name != nil {
			name = i.Name.Name
		}
		imports[name] = path
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			x, _ := s.X.(*ast.Ident)
			if x != nil && imports[x.Name] != "" {
				selected[x.Name+"."+s.Sel.Name]++
			} else {
				selected["."+s.Sel.Name]++
			}
		}
		return true
	})
	return imports, selected
}

// countUses estimates how often files of other packages use a function. What is
// selected of an operand that is no package may be a method of any type of the
// imported packages, or of the file's own, that has one of that name: they share it.
func (c *Corpus) countUses(files []fileResult) {
	methods := map[string]int{} // by path, dot, name
	for _, f := range c.Functions {
		if f.Receiver != "" {
			methods[f.Package+"."+f.Name]++
		}
	}
	uses := map[string]float64{} // of the functions, or of each method, of a package
	for _, file := range files {
		paths := []string{file.path}
		for _, path := range file.imports {
			paths = append(paths, path)
		}
		for selected, n := range file.selected {
			x, name, _ := strings.Cut(selected, ".")
			if x != "" {
				uses[file.imports[x]+"."+name] += float64(n)
				continue
			}
			sharers := 0
			for _, path := range paths {
				sharers += methods[path+selected]
			}
			for _, path := range paths[1:] {
				if methods[path+selected] > 0 {
					uses[path+"()."+name] += float64(n) / float64(sharers)
				}
			}
		}
	}
	for i := range c.Functions {
		f := &c.Functions[i]
		if f.Receiver == "" {
			f.Uses = uses[f.Package+"."+f.Name]
		} else {
			f.Uses = uses[f.Package+"()."+f.Name]
		}
	}
}

// countImporters counts the packages that import the package of a function.
func (c *Corpus) countImporters(files []fileResult) {
	importers := map[string]map[string]bool{}
	for _, file := range files {
		for _, path := range file.imports {
			if importers[path] == nil {
				importers[path] = map[string]bool{}
			}
			importers[path][file.path] = true
		}
	}
	for i := range c.Functions {
		f := &c.Functions[i]
		f.Importers = len(importers[f.Package])
	}
}

// filter reports whether the comment and the body of f make a pair, and counts
// the reason if they do not.
func (c *Counts) filter(f *Function, shortBody bool) bool {
	if strings.TrimSpace(f.Doc) == "" {
		return false
	}
	c.Documented++
	switch {
	case strings.Contains(f.Doc, "Deprecated:"):
		c.Deprecated++
	case len(strings.Fields(f.Summary)) < 3:
		c.ShortSummary++
	case strings.ContainsFunc(f.Summary, func(r rune) bool { return r >= utf8.RuneSelf }):
		c.NonASCII++
	case shortBody:
		c.ShortBody++
	default:
		return true
	}
	return false
}

// add appends what one file contributes. The same function is often declared for
// several operating systems, or for strings and for bytes: the first that is
// paired stays so. seen has the contents of those.
func (c *Corpus) add(r fileResult, seen map[[sha256.Size]byte]bool) {
	c.Counts.Files += r.counts.Files
	c.Counts.GeneratedFiles += r.counts.GeneratedFiles
	c.Counts.Functions += r.counts.Functions
	c.Counts.Documented += r.counts.Documented
	c.Counts.Deprecated += r.counts.Deprecated
	c.Counts.ShortSummary += r.counts.ShortSummary
	c.Counts.ShortBody += r.counts.ShortBody
	c.Counts.NonASCII += r.counts.NonASCII
	if c.Synopsis[r.path] == "" {
		c.Synopsis[r.path] = r.synopsis
	}
	for _, f := range r.functions {
		if f.Paired {
			key := sha256.Sum256([]byte(f.Receiver + "\x00" + f.Name + "\x00" + strings.Join(strings.Fields(f.Body), " ")))
			if seen[key] {
				f.Paired = false
				c.Counts.Duplicates++
			} else {
				seen[key] = true
				c.Counts.Pairs++
			}
		}
		c.Functions = append(c.Functions, f)
	}
}

// blankComments returns text with spaces in place of comments.
func blankComments(fset *token.FileSet, f *ast.File, text []byte) string {
	code := slices.Clone(text)
	for _, group := range f.Comments {
		for _, c := range group.List {
			for i := fset.Position(c.Pos()).Offset; i < fset.Position(c.End()).Offset; i++ {
				if code[i] != '\n' {
					code[i] = ' '
				}
			}
		}
	}
	return string(code)
}

func packageOf(file string) string {
	if i := strings.LastIndexByte(file, '/'); i >= 0 {
		return file[:i]
	}
	return "main"
}

// typeName returns the name of a receiver's type.
func typeName(e ast.Expr) string {
	switch t := e.(type) {
	case *ast.StarExpr:
		return typeName(t.X)
	case *ast.ParenExpr:
		return typeName(t.X)
	case *ast.IndexExpr:
		return typeName(t.X)
	case *ast.IndexListExpr:
		return typeName(t.X)
	case *ast.Ident:
		return t.Name
	}
	return ""
}
