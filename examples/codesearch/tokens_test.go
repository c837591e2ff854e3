package main

import (
	"slices"
	"strings"
	"testing"
)

func TestWords(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{" .,()[]{} \n", ""},
		{"Reads the files", "read the file"},
		{"readAll(r)", "read all readall r"},
		{"parseHTTP2Frame", "parse http 2 frame parsehttp2frame"},
		{"ServeHTTP", "serve http servehttp"},
		{"HTTPServer", "http server httpserver"},
		{"x86", "x 86 x86"},
		{"snake_case", "snake case"},
		{"entries pass bus is s", "entry pass bus is s"},
		{"Größe", "größe"},
	} {
		if got := strings.Join(Words(c.text), " "); got != c.want {
			t.Errorf("Words(%q) = %q, want %q", c.text, got, c.want)
		}
	}
}

func TestWithoutEnding(t *testing.T) {
	for _, c := range []struct{ words, want string }{
		{"encode encoding encoded encoder", "encod"},
		{"compress compressed compressing compression", "compress"},
		{"red ring ion", "red ring ion"}, // fewer than three letters would be left
		{"string byte", "str byt"},
	} {
		var got []string
		for w := range strings.FieldsSeq(c.words) {
			got = append(got, withoutEnding(w))
		}
		if got := strings.Join(slices.Compact(got), " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.words, got, c.want)
		}
	}
}

func TestPrefix(t *testing.T) {
	for _, c := range []struct {
		word, want string
		ok         bool
	}{
		{"buf", "", false},
		{"buffer", "buf-", true},
		{"größe", "grö-", true},
		{"größ"[:4], "", false}, // three letters in four bytes
	} {
		if got, ok := prefix(c.word); got != c.want || ok != c.ok {
			t.Errorf("prefix(%q) = %q, %v, want %q, %v", c.word, got, ok, c.want, c.ok)
		}
	}
	words := []string{"reader", "at"}
	if got := withPrefixes(words); !slices.Equal(got, []string{"reader", "at", "rea-"}) {
		t.Errorf("withPrefixes = %q", got)
	}
	if len(words) != 2 {
		t.Error("withPrefixes changed its argument")
	}
}

func TestTasks(t *testing.T) {
	f := &Function{
		Package:   "io/ioutil",
		Name:      "ReadAll",
		Summary:   "ReadAll reads all bytes until EOF.",
		Signature: "Reader (r io.Reader) ([]byte, error)",
		Body:      "{ readAll(r) }",
	}
	for _, c := range []struct {
		task        Task
		query, code string
	}{
		{CutIdentifier, "read all byte until eof", "io ioutil read all readall reader r io reader byte error read all readall r"},
		{CutQuery, "byte until eof", "io ioutil read all readall reader r io reader byte error read all readall r"},
		{CutBoth, "byte until eof", "io ioutil reader r io reader byte error r"},
	} {
		if got := strings.Join(c.task.QueryWords(f, f.Summary), " "); got != c.query {
			t.Errorf("%v: query %q, want %q", c.task, got, c.query)
		}
		code := c.task.CodeWords(f)
		if got := strings.Join(slices.Concat(code[:]...), " "); got != c.code {
			t.Errorf("%v: code %q, want %q", c.task, got, c.code)
		}
		if code[Query] != nil {
			t.Errorf("%v: code has query words", c.task)
		}
	}
}

func TestFeatures(t *testing.T) {
	z := Featurizer{Buckets: 1 << 20}
	fs := z.Field([]string{"buffer", "at", "buffer", "buf"}, Body)
	want := map[Feature]bool{
		{z.hash("buffer"), Body.words(), 1.6931472}:  true, // 1 + log 2
		{z.hash("at"), Body.words(), 1}:              true,
		{z.hash("buf"), Body.words(), 1}:             true,
		{z.hash("buf-"), Body.prefixes(), 1.6931472}: true,
	}
	if len(fs) != len(want) {
		t.Fatalf("got %d features, want %d", len(fs), len(want))
	}
	for _, f := range fs {
		if !want[f] {
			t.Errorf("unexpected feature %+v", f)
		}
	}
	if !slices.Equal(fs, z.Field([]string{"at", "buf", "buffer", "buffer"}, Body)) {
		t.Error("features depend on the order of words")
	}
	seen := map[Channel]bool{}
	for f := range fields {
		seen[f.words()], seen[f.prefixes()] = true, true
	}
	if len(seen) != int(channels) {
		t.Errorf("%d channels, want %d", len(seen), channels)
	}
}
