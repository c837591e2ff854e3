package main

import (
	"strings"
	"testing"
)

func TestQuestions(t *testing.T) {
	seen := map[string]bool{}
	for split, want := range map[Split]int{DevSplit: 101, TestSplit: 62} {
		questions := Questions(split)
		if len(questions) != want {
			t.Errorf("the %v split has %d questions", split, len(questions))
		}
		for _, q := range questions {
			if seen[q.Text] || len(q.Right) == 0 || len(Words(q.Text)) == 0 {
				t.Errorf("%q is there twice, or has no answer", q.Text)
			}
			seen[q.Text] = true
		}
	}
	if lines := strings.Count(questionList, "\n"); lines != len(seen) {
		t.Errorf("%d lines, %d questions", lines, len(seen))
	}
}

func TestQuestionRank(t *testing.T) {
	entries := []Entry{{Name: "a.A"}, {Name: "a.B"}, {Name: "a.C"}, {Name: "a.D"}}
	for _, c := range []struct {
		right  string
		scores []float64
		want   int
	}{
		{"a.A", []float64{4, 3, 2, 1}, 1},
		{"a.D", []float64{4, 3, 2, 1}, 4},
		{"a.B a.D", []float64{4, 3, 2, 1}, 2},
		{"a.B", []float64{1, 1, 1, 0}, 3},     // after those that tie with it
		{"a.A a.B", []float64{1, 1, 1, 0}, 2}, // but for the other right one
		{"a.Z", []float64{4, 3, 2, 1}, 0},
	} {
		if got := (Question{Right: set(strings.Fields(c.right))}).rank(entries, c.scores); got != c.want {
			t.Errorf("%s of %v has rank %d, want %d", c.right, c.scores, got, c.want)
		}
	}
}
