package main

import (
	"cmp"
	"math"
	"slices"
)

// A Feature is a word, or the prefix of one, as the encoder sees it.
type Feature struct {
	Row     uint32  // of the embedding table: a hash of the word
	Channel Channel // where it stands
	Weight  float32 // 1 + log of how often
}

// A Channel is a field, once for words and once for prefixes.
type Channel uint8

const channels = 2 * Channel(fields)

func (f Field) words() Channel    { return Channel(f) }
func (f Field) prefixes() Channel { return Channel(fields + f) }

// A Featurizer turns words into features.
type Featurizer struct {
	Buckets int // rows of the embedding table
}

// hash returns the row of a word: FNV-1a with its high bits folded in, since
// the low ones of short words are poorly mixed.
func (z Featurizer) hash(word string) uint32 {
	h := uint64(14695981039346656037)
	for i := range len(word) {
		h = (h ^ uint64(word[i])) * 1099511628211
	}
	return uint32((h ^ h>>32) % uint64(z.Buckets))
}

// Field returns the features of the words of a field, in an order that depends
// on nothing but them.
func (z Featurizer) Field(words []string, f Field) []Feature {
	var fs []Feature
	for _, w := range words {
		fs = append(fs, Feature{z.hash(w), f.words(), 1})
		if p, ok := prefix(w); ok {
			fs = append(fs, Feature{z.hash(p), f.prefixes(), 1})
		}
	}
	slices.SortFunc(fs, func(a, b Feature) int {
		return cmp.Or(cmp.Compare(a.Row, b.Row), cmp.Compare(a.Channel, b.Channel))
	})
	distinct := fs[:0]
	for _, f := range fs {
		if n := len(distinct); n > 0 && distinct[n-1].Row == f.Row && distinct[n-1].Channel == f.Channel {
			distinct[n-1].Weight++
		} else {
			distinct = append(distinct, f)
		}
	}
	for i := range distinct {
		distinct[i].Weight = float32(1 + math.Log(float64(distinct[i].Weight)))
	}
	return distinct
}

// Code returns the features of the fields of a function.
func (z Featurizer) Code(words [fields][]string) (fs []Feature) {
	for f, w := range words {
		fs = append(fs, z.Field(w, Field(f))...)
	}
	return fs
}

// An Example is a pair of comment and function, as every task shows it.
type Example struct {
	Summary, Comment, Code [tasks][]Feature
	Group                  int // examples of one group have the same summary
}

// Examples prepares pairs.
func (z Featurizer) Examples(paired []*Function) []Example {
	examples := make([]Example, len(paired))
	groups := map[string]int{}
	for i, f := range paired {
		if _, ok := groups[f.Summary]; !ok {
			groups[f.Summary] = len(groups)
		}
		examples[i].Group = groups[f.Summary]
	}
	parallel(len(paired), 32, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			e, f := &examples[i], paired[i]
			for t := range tasks {
				e.Summary[t] = z.Field(t.QueryWords(f, f.Summary), Query)
				e.Comment[t] = z.Field(t.QueryWords(f, f.Doc), Query)
				e.Code[t] = z.Code(t.CodeWords(f))
			}
		}
	})
	return examples
}
