package safetensors

import (
	"fmt"
	"io"
)

// Uint8 is the type of tensors of bytes, which [Writer.WriteBytes] and [File.Bytes] are
// for.
const Uint8 Type = "U8"

// Bytes returns the data of t, as they are in the file.
func (f *File) Bytes(t Tensor) ([]byte, error) {
	n, _ := t.bytes() // the header has been checked
	data := make([]byte, n)
	if read, err := f.r.ReadAt(data, f.data+t.begin); read < len(data) {
		return nil, unexpected(err)
	}
	return data, nil
}

// WriteBytes writes the next elements, of tensors of bytes.
func (w *Writer) WriteBytes(data []byte) error {
	if int64(len(data)) > w.left {
		return fmt.Errorf("safetensors: %d bytes, and the header says %d", len(data), w.left)
	}
	w.left -= int64(len(data))
	n, err := w.w.Write(data)
	if n < len(data) && err == nil {
		err = io.ErrShortWrite
	}
	return err
}
