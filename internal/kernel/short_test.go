package kernel

import "testing"

// TestShortArguments passes slices that are just long enough, and each of them one
// element shorter: that must panic in Go instead of reaching assembly.
func TestShortArguments(t *testing.T) {
	eachKernels(t, func(t *testing.T, k *Kernels) {
		const rows, blocks, gap = 3, 2, 5
		lanes, cols := rows*k.Lanes, rows*k.Cols
		depth, cRow := 2*BlockStep, k.Cols+gap
		panels := roundUp(rows, k.RowStep)
		lastTile := (rows - 1) / k.Rows
		height := panels - lastTile*k.Rows // of the last tile
		aStep := k.Rows + gap
		aTile := depth * aStep
		end := func(rows int) int { return (rows-1)*cRow + k.Cols }
		left, right := panels*k.Cols+gap, depth*k.Cols+gap
		tally := func(s [][]float32) Tally { return Tally{s[0], s[1], s[2]} }
		for _, c := range []struct {
			name  string
			sizes []int
			call  func(s [][]float32)
		}{
			{"MulCols", []int{end(panels), lastTile*aTile + (depth-1)*aStep + height, (depth-1)*cRow + k.Cols}, func(s [][]float32) {
				k.MulCols(s[0], cRow, s[1], aTile, aStep, s[2], cRow, rows, depth, 2, 1)
			}},
			{"MulRows", []int{end(panels), (panels-1)*left + depth, (depth-1)*cRow + k.Cols}, func(s [][]float32) {
				k.MulRows(s[0], cRow, s[1], left, s[2], cRow, rows, depth, 2, 1)
			}},
			{"MulBlocks", []int{end(panels), (blocks-1)*left + (panels-1)*k.Cols + depth, (blocks-1)*right + depth*k.Cols}, func(s [][]float32) {
				k.MulBlocks(s[0], cRow, s[1], left, s[2], right, rows, blocks, depth, false)
			}},
			{"Transpose", []int{end(k.Cols), end(k.Cols)}, func(s [][]float32) { k.Transpose(s[0], cRow, s[1], cRow) }},
			{"GatherCols", []int{2*(k.Cols+gap) + k.Cols}, func(s [][]float32) {
				k.GatherCols(make([]float32, 3*k.Cols), s[0], k.Cols+gap)
			}},
			{"Dots", []int{2*left + depth, 2*right + depth}, func(s [][]float32) {
				k.Dots(make([]float64, rows), s[0], left, s[1], right, depth)
			}},
			{"Squares", []int{2*left + depth}, func(s [][]float32) { k.Squares(make([]float64, rows), s[0], left, depth) }},
			{"SpreadRows", []int{k.Cols + gap + cols, 2*left + k.Cols + 1}, func(s [][]float32) {
				k.SpreadRows(s[0], k.Cols+gap, s[1], left, make([]float64, rows), k.Cols+1)
			}},
			{"ProjectRows", []int{2*cRow + depth, 2*left + depth, 2*right + depth}, func(s [][]float32) {
				k.ProjectRows(s[0], cRow, s[1], left, s[2], right, make([]float32, rows), make([]float32, rows), depth)
			}},
			{"TallyRows", []int{cols, rows, lanes, lanes, lanes}, func(s [][]float32) { k.TallyRows(s[0], rows, 1, s[1], tally(s[2:]), false) }},
			{"TallyRows and store", []int{cols, rows, lanes, lanes, lanes}, func(s [][]float32) { k.TallyRows(s[0], rows, 1, s[1], tally(s[2:]), true) }},
			{"TallyCols", []int{cols, k.Cols, k.Cols, k.Cols, k.Cols}, func(s [][]float32) { k.TallyCols(s[0], rows, 1, s[1], tally(s[2:])) }},
			{"TallyBoth", []int{cols, lanes, lanes, lanes, k.Cols, k.Cols, k.Cols}, func(s [][]float32) { k.TallyBoth(s[0], rows, 1, tally(s[1:]), tally(s[4:]), false) }},
			{"TallyBoth and store", []int{cols, lanes, lanes, lanes, k.Cols, k.Cols, k.Cols}, func(s [][]float32) { k.TallyBoth(s[0], rows, 1, tally(s[1:]), tally(s[4:]), true) }},
			{"WeighExponentials", []int{cols, rows, k.Cols}, func(s [][]float32) { k.WeighExponentials(s[0], rows, s[1], s[2]) }},
			{"TopBoth", []int{cols, lanes, k.Cols}, func(s [][]float32) { k.TopBoth(s[0], rows, Tally{Top: s[1]}, Tally{Top: s[2]}) }},
			{"Greatest", []int{cols, rows}, func(s [][]float32) { k.Greatest(s[0], rows, s[1]) }},
			{"WeighBoth", []int{cols, rows, k.Cols}, func(s [][]float32) { k.WeighBoth(s[0], rows, 1, s[1], s[2]) }},
			{"WeighRows", []int{cols, cols, rows, rows}, func(s [][]float32) { k.WeighRows(s[0], s[1], rows, 1, s[2], s[3]) }},
			{"WeighCols", []int{cols, cols, k.Cols, k.Cols}, func(s [][]float32) { k.WeighCols(s[0], s[1], rows, 1, s[2], s[3]) }},
			{"TallySigmoid", []int{cols, lanes, lanes, lanes, lanes}, func(s [][]float32) { k.TallySigmoid(s[0], rows, 1, 0, tally(s[1:]), s[4]) }},
			{"TallySquares", []int{cols, lanes}, func(s [][]float32) { k.TallySquares(s[0], rows, s[1]) }},
		} {
			checkShort(t, c.name, c.sizes, c.call)
		}
		for pieces := 1; pieces <= MaxPieces; pieces++ {
			const piece, srcRow = 7*RowWords + 1, SplitSide + gap
			checkShort(t, "SplitRows, words", []int{(pieces-1)*piece + rows*RowWords}, func(s [][]uint32) {
				k.SplitRows(s[0], piece, make([]float32, rows*srcRow), srcRow, rows, pieces)
			})
			checkShort(t, "SplitRows", []int{(rows-1)*srcRow + SplitSide}, func(s [][]float32) {
				k.SplitRows(make([]uint32, pieces*piece), piece, s[0], srcRow, rows, pieces)
			})
			checkShort(t, "SplitCols, words", []int{pieces * SquareWords}, func(s [][]uint32) {
				k.SplitCols(s[0], make([]float32, SplitSide*srcRow), srcRow, pieces)
			})
			checkShort(t, "SplitCols", []int{(SplitSide-1)*srcRow + SplitSide}, func(s [][]float32) {
				k.SplitCols(make([]uint32, pieces*SquareWords), s[0], srcRow, pieces)
			})
			left, right := pieces*SquareWords+gap, pieces*SquareWords
			checkShort(t, "MulSplit, words", []int{left + pieces*SquareWords, right + pieces*SquareWords}, func(s [][]uint32) {
				k.MulSplit(make([]float32, SplitSide*srcRow), srcRow, s[0], left, SquareWords, s[1], right, rows, blocks, pieces, false)
			})
			checkShort(t, "MulSplit", []int{(SplitSide-1)*srcRow + SplitSide}, func(s [][]float32) {
				k.MulSplit(s[0], srcRow, make([]uint32, left+pieces*SquareWords), left, SquareWords, make([]uint32, right+pieces*SquareWords), right, rows, blocks, pieces, false)
			})
		}
	})
}

func checkShort[T float32 | uint32](t *testing.T, name string, sizes []int, call func(s [][]T)) {
	t.Helper()
	try := func(short int) (panicked bool) {
		s := make([][]T, len(sizes))
		for i, n := range sizes {
			if i == short {
				n--
			}
			s[i] = make([]T, n)
		}
		defer func() { panicked = recover() != nil }()
		call(s)
		return false
	}
	if try(-1) {
		t.Errorf("%s panics given slices that are long enough", name)
		return
	}
	for i := range sizes {
		if !try(i) {
			t.Errorf("%s does not panic if slice %d is one element short", name, i)
		}
	}
}
