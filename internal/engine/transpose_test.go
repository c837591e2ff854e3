package engine

import (
	"fmt"
	"testing"
)

func TestTranspose(t *testing.T) {
	for _, rows := range []int{1, 7, 8, 32, 33, 70} {
		for _, cols := range []int{1, 15, 16, 64, 75} {
			t.Run(fmt.Sprintf("%d×%d", rows, cols), func(t *testing.T) {
				const pad = 3
				matrix := func(rows, cols int) Matrix { // whose data ends with the last element
					stride := cols + pad
					m := Matrix{Rows: rows, Cols: cols, Stride: stride, Data: make([]float32, (rows-1)*stride+cols)}
					for i := range m.Data {
						m.Data[i] = -1
					}
					return m
				}
				src, dst := matrix(rows, cols), matrix(cols, rows)
				for i := range rows {
					for j := range src.Row(i) {
						src.Row(i)[j] = float32(1000*i + j)
					}
				}
				Transpose(dst, src)
				for j := range cols {
					for i, got := range dst.Row(j) {
						if want := float32(1000*i + j); got != want {
							t.Fatalf("element %d, %d is %v, want %v", j, i, got, want)
						}
					}
					for k := j*dst.Stride + rows; k < min((j+1)*dst.Stride, len(dst.Data)); k++ {
						if dst.Data[k] != -1 {
							t.Fatalf("what follows row %d is %v", j, dst.Data[k])
						}
					}
				}
			})
		}
	}
}
