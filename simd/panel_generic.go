package simd

import (
	"math"
	"slices"
)

func tallyRowsGeneric(block []float32, rows int, scale float32, shift []float32, t Tally, store bool) {
	const cols = genericCols
	for r := range rows {
		s := block[r*cols : r*cols+cols : r*cols+cols]
		sum, moment, top := t.Sum[r*cols:r*cols+cols], t.Moment[r*cols:r*cols+cols], t.Top[r*cols:r*cols+cols]
		for j, v := range s {
			top[j] = max(top[j], v)
			y := max((v-shift[r])*scale, minExponent)
			e := exp2Generic(y)
			sum[j] += e
			moment[j] += float32(e * y)
			if store {
				s[j] = e
			}
		}
	}
}

func tallyColsGeneric(block []float32, rows int, scale float32, shift []float32, t Tally) {
	const cols = genericCols
	for r := range rows {
		for j, v := range block[r*cols : r*cols+cols] {
			t.Top[j] = max(t.Top[j], v)
			y := max((v-shift[j])*scale, minExponent)
			e := exp2Generic(y)
			t.Sum[j] += e
			t.Moment[j] += float32(e * y)
		}
	}
}

func tallyBothGeneric(block []float32, rows int, scale float32, row, col Tally) {
	const cols = genericCols
	for r := range rows {
		sum, moment, top := row.Sum[r*cols:r*cols+cols], row.Moment[r*cols:r*cols+cols], row.Top[r*cols:r*cols+cols]
		for j, v := range block[r*cols : r*cols+cols] {
			y := max(v*scale, minExponent)
			e := exp2Generic(y)
			m := float32(e * y)
			top[j], col.Top[j] = max(top[j], v), max(col.Top[j], v)
			sum[j], col.Sum[j] = sum[j]+e, col.Sum[j]+e
			moment[j], col.Moment[j] = moment[j]+m, col.Moment[j]+m
		}
	}
}

func topBothGeneric(block []float32, rows int, row, col Tally) {
	const cols = genericCols
	for r := range rows {
		top := row.Top[r*cols : r*cols+cols]
		for j, v := range block[r*cols : r*cols+cols] {
			top[j], col.Top[j] = max(top[j], v), max(col.Top[j], v)
		}
	}
}

func greatestGeneric(block []float32, rows int, top []float32) {
	const cols = genericCols
	for r := range rows {
		top[r] = slices.Max(block[r*cols : r*cols+cols])
	}
}

func weighBothGeneric(block []float32, rows int, scale float32, row, col []float32) {
	const cols = genericCols
	for r := range rows {
		s := block[r*cols : r*cols+cols]
		for j, v := range s {
			s[j] = exp2Generic(max(v*scale, minExponent)) * (row[r] + col[j])
		}
	}
}

func weighRowsGeneric(dst, block []float32, rows int, scale float32, shift, weight []float32) {
	const cols = genericCols
	for r := range rows {
		d := dst[r*cols : r*cols+cols]
		for j, v := range block[r*cols : r*cols+cols] {
			d[j] += float32(exp2Generic(max((v-shift[r])*scale, minExponent)) * weight[r])
		}
	}
}

func weighColsGeneric(dst, block []float32, rows int, scale float32, shift, weight []float32) {
	const cols = genericCols
	for r := range rows {
		d := dst[r*cols : r*cols+cols]
		for j, v := range block[r*cols : r*cols+cols] {
			d[j] += float32(exp2Generic(max((v-shift[j])*scale, minExponent)) * weight[j])
		}
	}
}

func tallySigmoidGeneric(block []float32, rows int, scale, bias float32, t Tally, weight []float32) {
	const cols, log2e = genericCols, 1.4426950408889634
	for r := range rows {
		s := block[r*cols : r*cols+cols : r*cols+cols]
		sum, moment, top := t.Sum[r*cols:r*cols+cols], t.Moment[r*cols:r*cols+cols], t.Top[r*cols:r*cols+cols]
		weights := weight[r*cols : r*cols+cols]
		for j, v := range s {
			top[j] = max(top[j], v)
			y := max(float32(v*scale), minScaled)
			z := y + bias
			e := exp2Generic(max(float32(-max(z, -z)*log2e), minExponent)) // in (0, 1]: cannot overflow
			w := 1 / (1 + e)
			if z < 0 {
				w *= e
			}
			sum[j] += max(z, 0) + float32(math.Log1p(float64(e)))
			moment[j] += float32(w * y)
			weights[j] += w
			s[j] = w
		}
	}
}

func tallySquaresGeneric(block []float32, rows int, sum []float32) {
	const cols = genericCols
	for r := range rows {
		sums := sum[r*cols : r*cols+cols]
		for j, v := range block[r*cols : r*cols+cols] {
			sums[j] += float32(v * v)
		}
	}
}

// minScaled bounds scale·s from below, for the reason that minExponent bounds
// exponents. It is so far below a bias, of at most 2^100, that their sum is too.
const minScaled = -0x1p110
