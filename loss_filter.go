package contrastive

import "fmt"

// A Filter leaves out a negative of a query that may be one of its positives, because a
// guide finds the pair more similar than the query and its positives. With g the guide's
// similarities, gᵢ the least of those of query i and its positives, and m FilterMargin, it
// leaves out negative j of query i if gᵢⱼ is greater than a limit.
//
// The guide's similarities are the cosines of the batch's GuideQuery and GuideKey, if they
// are given: then other rows of Key are filtered, and Negatives if GuideNegatives is given.
// Otherwise they are the loss's own, before margins and the like, and Key, Negatives, Hard
// and Queue are filtered. No gradient flows through the choice.
//
// Qwen3 Embedding (Zhang et al., 2025) has AbsoluteMargin with 0.1 and no guide, GISTEmbed
// (Solatorio, 2024) with a margin of m has AbsoluteMargin with −m and a guide.
type Filter uint8

const (
	NoFilter       Filter = iota
	AbsoluteMargin        // the limit is gᵢ + m
	RelativeMargin        // the limit is gᵢ + m·|gᵢ|
)

func (f Filter) check(margin float32) error {
	switch {
	case f > RelativeMargin:
		return fmt.Errorf("Filter is %d, which is none of NoFilter, AbsoluteMargin and RelativeMargin: %w", f, ErrParameter)
	case f == NoFilter && margin != 0:
		return fmt.Errorf("FilterMargin is %v without a Filter: %w", margin, ErrParameter)
	}
	return nil
}
