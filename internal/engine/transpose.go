package engine

import (
	"github.com/contrastive-go/contrastive/internal/kernel"
	"github.com/contrastive-go/contrastive/internal/race"
)

// Transpose stores src, transposed, in dst, of src.Cols rows and src.Rows columns. Both may
// be memory of callers.
func Transpose(dst, src Matrix) {
	race.ReadRows(src.Data, src.Stride, src.Rows, src.Cols)
	race.WriteRows(dst.Data, dst.Stride, src.Cols, src.Rows)
	k := kernel.Active()
	rows, cols := src.Rows/k.Cols*k.Cols, src.Cols/k.Cols*k.Cols // of whole squares
	for i := 0; i < rows; i += k.Cols {
		for j := 0; j < cols; j += k.Cols {
			k.Transpose(dst.Data[j*dst.Stride+i:], dst.Stride, src.Data[i*src.Stride+j:], src.Stride)
		}
	}
	for i := range src.Rows {
		row := src.Row(i)
		j := 0
		if i < rows {
			j = cols
		}
		for ; j < src.Cols; j++ {
			dst.Data[j*dst.Stride+i] = row[j]
		}
	}
}
