package data

import "math"

// Plain stores image i, with mean 0 and deviation 1.
func Plain(dst []float32, s *Set, i int) {
	copy(dst, s.Pixels[i])
	standardise(dst)
}

// standardise gives x mean 0 and deviation 1. An image that is all of one value
// stays nearly 0.
func standardise(x []float32) {
	const epsilon = 1e-3
	mean, squares := 0.0, 0.0
	for _, v := range x {
		mean += float64(v)
	}
	mean /= float64(len(x))
	for _, v := range x {
		d := float64(v) - mean
		squares += d * d
	}
	k := 1 / (math.Sqrt(squares/float64(len(x))) + epsilon)
	for i, v := range x {
		x[i] = float32((float64(v) - mean) * k)
	}
}

// binomial blurs x by the weights 1, 2, 1 in both directions. It clobbers line,
// which is as long.
func binomial(x, line []float32, width, height int) {
	for y := range height {
		row, out := x[y*width:(y+1)*width], line[y*width:(y+1)*width]
		for i, v := range row {
			out[i] = (row[max(0, i-1)] + 2*v + row[min(width-1, i+1)]) / 4
		}
	}
	for y := range height {
		above, below := line[max(0, y-1)*width:], line[min(height-1, y+1)*width:]
		for i := range width {
			x[y*width+i] = (above[i] + 2*line[y*width+i] + below[i]) / 4
		}
	}
}
