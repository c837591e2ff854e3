//go:build purego || (!amd64 && !arm64)

package simd

func tallyRows(block []float32, rows int, scale float32, shift []float32, t Tally, store bool) {
	tallyRowsGeneric(block, rows, scale, shift, t, store)
}

func tallyCols(block []float32, rows int, scale float32, shift []float32, t Tally) {
	tallyColsGeneric(block, rows, scale, shift, t)
}

func tallyBoth(block []float32, rows int, scale float32, row, col Tally) {
	tallyBothGeneric(block, rows, scale, row, col)
}

func topBoth(block []float32, rows int, row, col Tally) {
	topBothGeneric(block, rows, row, col)
}

func greatest(block []float32, rows int, top []float32) {
	greatestGeneric(block, rows, top)
}

func weighBoth(block []float32, rows int, scale float32, row, col []float32) {
	weighBothGeneric(block, rows, scale, row, col)
}

func weighRows(dst, block []float32, rows int, scale float32, shift, weight []float32) {
	weighRowsGeneric(dst, block, rows, scale, shift, weight)
}

func weighCols(dst, block []float32, rows int, scale float32, shift, weight []float32) {
	weighColsGeneric(dst, block, rows, scale, shift, weight)
}

func tallySigmoid(block []float32, rows int, scale, bias float32, t Tally, weight []float32) {
	tallySigmoidGeneric(block, rows, scale, bias, t, weight)
}

func tallySquares(block []float32, rows int, sum []float32) {
	tallySquaresGeneric(block, rows, sum)
}
