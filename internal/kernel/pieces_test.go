package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/contrastive-go/contrastive/internal/guard"
	"github.com/contrastive-go/contrastive/internal/isa"
)

// halves returns the values in the halves of a word.
func halves(w uint32) (lo, hi float64) {
	return float64(math.Float32frombits(w << 16)), float64(math.Float32frombits(w &^ 0xffff))
}

// guardedWords returns n words that end at a page that faults.
func guardedWords(t *testing.T, n int) []uint32 {
	_, s := guard.Float32s(t, n)
	words := unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(s))), n)
	for i := range words {
		words[i] = 0xdeadbeef
	}
	return words
}

// checkPieces fails t unless the pieces of a value are as near to it as they are
// documented to be.
func checkPieces(t *testing.T, what string, pieces []float64, want float32) {
	t.Helper()
	sum := 0.0
	for _, p := range pieces {
		sum += p
	}
	bound := math.Exp2(float64(-8*len(pieces))) * math.Abs(float64(want))
	if len(pieces) == MaxPieces {
		bound = 0
	}
	if !(math.Abs(sum-float64(want)) <= bound) {
		t.Fatalf("%s: pieces %v add up to %v, want %v ± %.2g", what, pieces, sum, want, bound)
	}
}

// awkward returns values whose rounding is not like that of others.
func awkward(r *rand.Rand, v []float32) {
	deviates(r, v)
	for i, x := range []float32{0, 1, -1, 1 + 0x1p-7, 1 + 0x1p-8, 1 - 0x1p-8, 1 + 0x1p-9 + 0x1p-23, 2 - 0x1p-23, -2 + 0x1p-23, 0x1p-100, 0x1.fffffep100, 0x1.010101p0, 0x1.008081p-3} {
		v[(37*i+5)%len(v)] = x
	}
}

func TestSplitRows(t *testing.T) {
	eachKernels(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(1, 2))
		for pieces := 1; pieces <= MaxPieces; pieces++ {
			for rows := 1; rows <= 5; rows++ {
				piece, srcRow := rows*RowWords+rows%3, SplitSide+rows%2
				_, src := guard.Float32s(t, (rows-1)*srcRow+SplitSide)
				awkward(r, src)
				dst := guardedWords(t, (pieces-1)*piece+rows*RowWords)
				k.SplitRows(dst, piece, src, srcRow, rows, pieces)
				for i := range rows {
					for j := range RowWords {
						lo, hi := make([]float64, pieces), make([]float64, pieces)
						for p := range pieces {
							lo[p], hi[p] = halves(dst[p*piece+i*RowWords+j])
						}
						checkPieces(t, "lower", lo, src[i*srcRow+j])
						checkPieces(t, "upper", hi, src[i*srcRow+j+RowWords])
					}
				}
				for p := range pieces - 1 {
					for _, w := range dst[p*piece+rows*RowWords : (p+1)*piece] {
						if w != 0xdeadbeef {
							t.Fatalf("%d rows, %d pieces: wrote between the pieces", rows, pieces)
						}
					}
				}
			}
		}
	})
}

func TestSplitCols(t *testing.T) {
	eachKernels(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(1, 2))
		for pieces := 1; pieces <= MaxPieces; pieces++ {
			for extra := range 3 {
				srcRow := SplitSide + extra
				_, src := guard.Float32s(t, (SplitSide-1)*srcRow+SplitSide)
				awkward(r, src)
				dst := guardedWords(t, pieces*SquareWords)
				k.SplitCols(dst, src, srcRow, pieces)
				for i := range RowWords {
					for j := range SplitSide {
						lo, hi := make([]float64, pieces), make([]float64, pieces)
						for p := range pieces {
							lo[p], hi[p] = halves(dst[p*SquareWords+i*SplitSide+j])
						}
						checkPieces(t, "lower", lo, src[i*srcRow+j])
						checkPieces(t, "upper", hi, src[(i+RowWords)*srcRow+j])
					}
				}
			}
		}
	})
}

func TestMulSplit(t *testing.T) {
	const side = SplitSide
	eachKernels(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(1, 2))
		for pieces := 1; pieces <= MaxPieces; pieces++ {
			for _, rows := range []int{1, 32, 33, 96} {
				for _, blocks := range []int{1, 2, 5, 90} {
					if blocks == 90 && (rows != 96 || k.splitsUpTo == 0) {
						continue // enough to take tiles two calls
					}
					height := roundUp(rows, side)
					aPiece, cRow := height*RowWords+16, side+rows%3
					aBlock, bBlock := MaxPieces*aPiece+32, MaxPieces*SquareWords+64
					left, right := make([]float32, blocks*height*side), make([]float32, blocks*side*side)
					deviates(r, left)
					deviates(r, right)
					a := guardedWords(t, (blocks-1)*aBlock+(pieces-1)*aPiece+height*RowWords)
					b := guardedWords(t, (blocks-1)*bBlock+pieces*SquareWords)
					for n := range blocks {
						k.SplitRows(a[n*aBlock:], aPiece, left[n*height*side:], side, height, pieces)
						k.SplitCols(b[n*bBlock:], right[n*side*side:], side, pieces)
					}
					c := guarded(t, r, (height-1)*cRow+side)
					before := slices.Clone(c)
					add := blocks%2 == 0
					k.MulSplit(c, cRow, a, aBlock, aPiece, b, bBlock, rows, blocks, pieces, add)

					products := blocks * pieces * (pieces + 1) / 2
					rounded := 32 * products
					if k == levels[isa.AMX] {
						rounded = 18 + products
					}
					for i := range rows {
						for j := range side {
							want, size := 0.0, 0.0
							for n := range blocks {
								for d := range side {
									p := float64(left[(n*height+i)*side+d]) * float64(right[(n*side+d)*side+j])
									want, size = want+p, size+math.Abs(p)
								}
							}
							bound := (3*math.Exp2(float64(-8*pieces)) + float64(rounded)*u) * size
							if add {
								want += float64(before[i*cRow+j])
								bound += u * (math.Abs(want) + bound)
							}
							if got := float64(c[i*cRow+j]); !(math.Abs(got-want) <= bound) {
								t.Fatalf("%d rows, %d blocks, %d pieces: element %d, %d is %v, want %v ± %.2g", rows, blocks, pieces, i, j, got, want, bound)
							}
						}
						if gap := c[i*cRow+side : min((i+1)*cRow, len(c))]; !slices.Equal(gap, before[i*cRow+side:][:len(gap)]) {
							t.Fatalf("%d rows, %d blocks, %d pieces: wrote between the rows", rows, blocks, pieces)
						}
					}
				}
			}
		}
	})
}
