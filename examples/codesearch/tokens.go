package main

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Words returns the words of a text in lower case. Identifiers are split where
// their case changes and where digits meet letters; one that has several parts
// also appears as a whole: "readAll(r)" is read, all, readall, r.
func Words(text string) (words []string) {
	for _, ident := range identifiers(text) {
		parts := splitIdentifier(ident)
		for _, p := range parts {
			words = append(words, stem(strings.ToLower(p)))
		}
		if len(parts) > 1 {
			words = append(words, strings.ToLower(ident))
		}
	}
	return words
}

// identifiers returns the runs of letters and digits of text.
func identifiers(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// splitIdentifier splits parseHTTP2Frame into parse, HTTP, 2 and Frame.
func splitIdentifier(ident string) (parts []string) {
	r := []rune(ident)
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

// stem removes the ending of a plural or of the third person, in which the verbs
// of doc comments are.
func stem(w string) string {
	switch {
	case len(w) > 4 && strings.HasSuffix(w, "ies"):
		return w[:len(w)-3] + "y"
	case len(w) > 3 && strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss"):
		return w[:len(w)-1]
	}
	return w
}

// withoutEnding makes one of the forms of a word: compress, compressed, compressor and
// compression. What it returns need not be a word.
func withoutEnding(w string) string {
	for _, ending := range []string{"ing", "ed", "er", "ion"} {
		if s, ok := strings.CutSuffix(w, ending); ok && len(s) >= 3 {
			w = s
			break
		}
	}
	return strings.TrimSuffix(w, "e")
}

// prefix returns the first three letters of a longer word with a hyphen, which
// no word contains. It links buffer with buf, string with str, and the forms of
// a verb with each other.
func prefix(word string) (p string, ok bool) {
	if utf8.RuneCountInString(word) <= 3 {
		return "", false
	}
	return string([]rune(word)[:3]) + "-", true
}

// withPrefixes returns words and their prefixes.
func withPrefixes(words []string) []string {
	all := slices.Clone(words)
	for _, w := range words {
		if p, ok := prefix(w); ok {
			all = append(all, p)
		}
	}
	return all
}

// without returns the words that are not in cut.
func without(words []string, cut map[string]bool) []string {
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool { return cut[w] })
}

func set(words []string) map[string]bool {
	s := make(map[string]bool, len(words))
	for _, w := range words {
		s[w] = true
	}
	return s
}
