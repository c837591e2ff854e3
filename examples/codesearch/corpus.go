package main

import (
	"crypto/sha256"
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
	"slices"
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
	Body      string // source, without comments
	File      string // relative to GOROOT/src
	Line      int
	Paired    bool // passed the filters for doc comments
}

// String returns the name by which a user of the package would call f.
func (f *Function) String() string {
	base := f.Package[strings.LastIndexByte(f.Package, '/')+1:]
	if f.Receiver != "" {
		return base + "." + f.Receiver + "." + f.Name
	}
	return base + "." + f.Name
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
	Release   string // "go1.26.8"
	Functions []Function
	Counts    Counts
}

var errNoSource = errors.New("no Go source found")

// goroot returns the root of the Go installation that the go command uses.
func goroot() (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w; use -goroot", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// LoadCorpus reads the functions below root/src. Which of them are paired with
// their comments is decided in the manner of CodeSearchNet (Husain et al., 2019,
// arXiv:1909.09436): no tests and no generated files, comments of at least 3
// words, bodies of at least 3 lines, no duplicates.
func LoadCorpus(root string) (*Corpus, error) {
	src, err := filepath.EvalSymlinks(filepath.Join(root, "src")) // a link in some distributions
	if err != nil {
		return nil, fmt.Errorf("%w in %s: %w", errNoSource, root, err)
	}
	files, err := goFiles(src)
	if err != nil {
		return nil, err
	}
	c := &Corpus{Release: release(root)}
	parsed := make([]fileResult, len(files))
	parallel(len(files), 16, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			parsed[i] = parseFile(src, files[i])
		}
	})
	seen := map[[sha256.Size]byte]int{}
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

// release returns the first line of root/VERSION.
func release(root string) string {
	b, err := os.ReadFile(filepath.Join(root, "VERSION"))
	if err != nil {
		return "unknown release"
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line
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
	functions []Function
	counts    Counts
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
	return parseSource(filepath.ToSlash(rel), text)
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
	if ast.IsGenerated(f) {
		r.counts.GeneratedFiles = 1
		return r
	}
	code := blankComments(fset, f, text)
	offset := func(p token.Pos) int { return fset.Position(p).Offset }
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		r.counts.Functions++
		out := Function{
			Package: packageOf(file),
			Name:    fn.Name.Name,
			Body:    code[offset(fn.Body.Pos()):offset(fn.Body.End())],
			File:    file,
			Line:    fset.Position(fn.Pos()).Line,
		}
		out.Signature = code[offset(fn.Name.End()):offset(fn.Body.Pos())]
		if fn.Recv != nil && len(fn.Recv.List) == 1 {
			out.Receiver = typeName(fn.Recv.List[0].Type)
			out.Signature = out.Receiver + " " + out.Signature
		}
		out.Doc = fn.Doc.Text()
		out.Summary = new(doc.Package).Synopsis(out.Doc)
		short := fset.Position(fn.Body.End()).Line-fset.Position(fn.Body.Pos()).Line+1 < 3
		out.Paired = r.counts.filter(&out, short)
		r.functions = append(r.functions, out)
	}
	return r
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

// add appends what one file contributes. The same function is often declared
// for several operating systems; of duplicates the first stays, or the first
// that is paired. seen has the index of every function by its content.
func (c *Corpus) add(r fileResult, seen map[[sha256.Size]byte]int) {
	c.Counts.Files += r.counts.Files
	c.Counts.GeneratedFiles += r.counts.GeneratedFiles
	c.Counts.Functions += r.counts.Functions
	c.Counts.Documented += r.counts.Documented
	c.Counts.Deprecated += r.counts.Deprecated
	c.Counts.ShortSummary += r.counts.ShortSummary
	c.Counts.ShortBody += r.counts.ShortBody
	c.Counts.NonASCII += r.counts.NonASCII
	for _, f := range r.functions {
		key := sha256.Sum256([]byte(f.Receiver + "\x00" + f.Name + "\x00" + strings.Join(strings.Fields(f.Body), " ")))
		i, dup := seen[key]
		switch {
		case !dup:
			seen[key] = len(c.Functions)
			c.Functions = append(c.Functions, f)
		case f.Paired && !c.Functions[i].Paired:
			c.Functions[i] = f
		case f.Paired:
			c.Counts.Duplicates++
			continue
		}
		if f.Paired {
			c.Counts.Pairs++
		}
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
