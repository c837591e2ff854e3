package main

import "hash/fnv"

// A Split is a part of the corpus. A package lies in one split as a whole, as a
// repository does in CodeSearchNet, so that a model cannot profit from having
// seen its neighbours.
type Split uint8

const (
	TrainSplit Split = iota
	DevSplit         // for choosing settings
	TestSplit        // for the final figures
	splits

	NoSplit = splits // nothing is held out
)

func (s Split) String() string { return [splits + 1]string{"train", "dev", "test", "no"}[s] }

// SplitOf returns the split of a package: of five packages three are for
// training.
func SplitOf(pkg string) Split {
	h := fnv.New32a()
	h.Write([]byte(pkg))
	switch h.Sum32() % 5 {
	case 0:
		return TestSplit
	case 1:
		return DevSplit
	}
	return TrainSplit
}

// trainedOn returns the splits to train on if s is held out to measure the model:
// the development split has done its work when the test split is used.
func (s Split) trainedOn() []Split {
	switch s {
	case DevSplit:
		return []Split{TrainSplit}
	case TestSplit:
		return []Split{TrainSplit, DevSplit}
	}
	return []Split{TrainSplit, DevSplit, TestSplit}
}
