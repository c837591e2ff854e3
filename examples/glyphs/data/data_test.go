package data

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestGlyphs(t *testing.T) {
	train, test, err := Glyphs()
	if err != nil {
		t.Fatal(err)
	}
	if train.Len() != 10*94 || test.Len() != 2*94 || len(train.Classes) != 94 || len(train.Styles) != 12 {
		t.Fatalf("%d and %d images of %d classes in %d fonts", train.Len(), test.Len(), len(train.Classes), len(train.Styles))
	}
	for _, s := range []*Set{train, test} {
		for i, p := range s.Pixels {
			var ink float32
			for _, v := range p {
				if v < 0 || v > 1 {
					t.Fatalf("image %d has a value of %v", i, v)
				}
				ink += v
			}
			if len(p) != s.Dim() || ink < 3 {
				t.Errorf("%s in %s has %d values and ink %v", s.Classes[s.Labels[i]], s.Styles[s.Style[i]], len(p), ink)
			}
			for _, v := range slices.Concat(p[:s.Width], p[len(p)-s.Width:]) {
				if v > 0 {
					t.Errorf("%s in %s touches the edge", s.Classes[s.Labels[i]], s.Styles[s.Style[i]])
					break
				}
			}
		}
	}
	for _, style := range test.Style {
		if slices.Contains(train.Style, style) {
			t.Fatalf("font %s is in both sets", train.Styles[style])
		}
	}
}

func TestView(t *testing.T) {
	train, _, err := Glyphs()
	if err != nil {
		t.Fatal(err)
	}
	draw := func(a Augmentation, i int, seed uint64) []float32 {
		v := make([]float32, train.Dim())
		a.View(v, train, i, rand.New(rand.NewPCG(seed, 0)))
		return v
	}
	for i := range train.Len() {
		v := draw(Default, i, uint64(i))
		if !slices.Equal(v, draw(Default, i, uint64(i))) {
			t.Fatal("one seed gives two views")
		}
		if slices.Equal(v, draw(Default, i, uint64(i)+1)) {
			t.Fatal("two seeds give one view")
		}
		mean, squares := 0.0, 0.0
		for _, x := range v {
			mean += float64(x) / float64(len(v))
			squares += float64(x) * float64(x) / float64(len(v))
		}
		// A deviation of at least 0.05, the noise, is divided by itself plus 10⁻³.
		if math.Abs(mean) > 1e-5 || squares < 0.95 || squares > 1 {
			t.Fatalf("image %d: mean %v, mean square %v", i, mean, squares)
		}
	}

	// Without any change a view is the image.
	plain := make([]float32, train.Dim())
	Plain(plain, train, 7)
	for k, v := range draw(Augmentation{}, 7, 1) {
		if math.Abs(float64(v-plain[k])) > 1e-3 {
			t.Fatalf("element %d of the view without augmentation is %v, of the image %v", k, v, plain[k])
		}
	}
}

// Every parameter changes the view.
func TestAugmentationParameters(t *testing.T) {
	train, _, err := Glyphs()
	if err != nil {
		t.Fatal(err)
	}
	plain := make([]float32, train.Dim())
	Plain(plain, train, 40)
	// A cut may miss the ink, and the others nearly do nothing.
	for name, a := range map[string]Augmentation{
		"Rotation": {Rotation: 0.5}, "Shear": {Shear: 0.5}, "Shift": {Shift: 0.3}, "Scale": {Scale: 0.5},
		"Blur": {Blur: 1}, "Noise": {Noise: 0.5}, "Cutout": {Cutout: 1},
	} {
		changed := 0
		for seed := range uint64(20) {
			v := make([]float32, train.Dim())
			a.View(v, train, 40, rand.New(rand.NewPCG(seed, 1)))
			for k := range v {
				if math.Abs(float64(v[k]-plain[k])) > 0.1 {
					changed++
					break
				}
			}
		}
		if changed < 10 {
			t.Errorf("%s changes %d of 20 views", name, changed)
		}
	}
}

// A loss of contrast shows against the noise, as views are standardised.
func TestContrast(t *testing.T) {
	train, _, err := Glyphs()
	if err != nil {
		t.Fatal(err)
	}
	plain, v := make([]float32, train.Dim()), make([]float32, train.Dim())
	Plain(plain, train, 40)
	similarity := func(a Augmentation) float64 {
		sum := 0.0
		for seed := range uint64(20) {
			a.View(v, train, 40, rand.New(rand.NewPCG(seed, 1)))
			for k := range v {
				sum += float64(v[k]) * float64(plain[k])
			}
		}
		return sum / 20 / float64(len(v))
	}
	full, less := similarity(Augmentation{Noise: 0.3}), similarity(Augmentation{Noise: 0.3, Contrast: 0.9})
	if full < 0.5 || less > full-0.1 {
		t.Errorf("a noisy view has the correlation %v with its image, with less contrast %v", full, less)
	}
}

// Goroutines that draw at the same time draw what one does.
func TestViewConcurrently(t *testing.T) {
	train, _, err := Glyphs()
	if err != nil {
		t.Fatal(err)
	}
	draw := func(i int) []float32 {
		v := make([]float32, train.Dim())
		Default.View(v, train, i, rand.New(rand.NewPCG(uint64(i), 5)))
		return v
	}
	const views = 200
	concurrent := make([][]float32, views)
	var wait sync.WaitGroup
	for g := range 4 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for i := g; i < views; i += 4 {
				concurrent[i] = draw(i)
			}
		}()
	}
	wait.Wait()
	for i, v := range concurrent {
		if !slices.Equal(v, draw(i)) {
			t.Fatalf("view %d is another than that of one goroutine", i)
		}
	}
}

func idx(magic uint32, sizes []uint32, values []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, magic)
	for _, n := range sizes {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return append(b, values...)
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
		t.Fatal(err)
	}
}

// mnist writes two training images and one test image of 3×2 pixels.
func mnist(t *testing.T) string {
	dir := t.TempDir()
	write(t, dir, "train-images-idx3-ubyte", idx(0x803, []uint32{2, 2, 3}, []byte{0, 51, 102, 153, 204, 255, 9, 9, 9, 9, 9, 9}))
	write(t, dir, "train-labels-idx1-ubyte", idx(0x801, []uint32{2}, []byte{7, 3}))
	write(t, dir, "t10k-labels-idx1-ubyte", idx(0x801, []uint32{1}, []byte{1}))
	write(t, dir, "t10k-images-idx3-ubyte.gz", zip(idx(0x803, []uint32{1, 2, 3}, []byte{1, 2, 3, 4, 5, 6})))
	return dir
}

func zip(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	w.Close()
	return b.Bytes()
}

// flip changes a byte of data, at an offset from its end.
func flip(data []byte, offset int) []byte {
	data[len(data)+offset] ^= 1
	return data
}

func TestOpenMNIST(t *testing.T) {
	train, test, err := Open(mnist(t))
	if err != nil {
		t.Fatal(err)
	}
	if train.Width != 3 || train.Height != 2 || train.Channels != 1 || train.Len() != 2 || test.Len() != 1 {
		t.Fatalf("%d×%d×%d, %d and %d images", train.Width, train.Height, train.Channels, train.Len(), test.Len())
	}
	if !slices.Equal(train.Labels, []int{7, 3}) || !slices.Equal(train.Pixels[0], []float32{0, 0.2, 0.4, 0.6, 0.8, 1}) || train.Classes[7] != "7" {
		t.Errorf("labels %v, pixels %v", train.Labels, train.Pixels[0])
	}
	v := make([]float32, train.Dim())
	for seed := range uint64(50) { // also of images this small
		Default.View(v, train, 0, rand.New(rand.NewPCG(seed, 1)))
	}
}

func cifar(t *testing.T) string {
	dir := t.TempDir()
	record := func(class, value byte) []byte { return append([]byte{class}, bytes.Repeat([]byte{value}, 3072)...) }
	for i := 1; i <= 5; i++ {
		write(t, dir, "data_batch_"+string(rune('0'+i))+".bin", append(record(byte(i), 255), record(9, 51)...))
	}
	write(t, dir, "test_batch.bin", record(0, 0))
	return dir
}

func TestOpenCIFAR(t *testing.T) {
	train, test, err := Open(cifar(t))
	if err != nil {
		t.Fatal(err)
	}
	if train.Len() != 10 || test.Len() != 1 || train.Dim() != 3072 || train.Classes[train.Labels[1]] != "truck" || train.Pixels[1][3000] != 0.2 {
		t.Errorf("%d and %d images of %d values, labels %v", train.Len(), test.Len(), train.Dim(), train.Labels)
	}
	v := make([]float32, train.Dim())
	Default.View(v, train, 1, rand.New(rand.NewPCG(1, 1)))
}

func TestOpenErrors(t *testing.T) {
	images := idx(0x803, []uint32{1, 2, 3}, []byte{1, 2, 3, 4, 5, 6})
	for _, c := range []struct {
		name string
		dir  func(t *testing.T) string
		file string
		data []byte
		part string
	}{
		{"nothing there", func(t *testing.T) string { return t.TempDir() }, "other", nil, "has neither"},
		{"magic", mnist, "train-images-idx3-ubyte", idx(0x802, []uint32{2, 2, 3}, make([]byte, 12)), "begins with 0x00000802"},
		{"header cut", mnist, "train-images-idx3-ubyte", idx(0x803, []uint32{2}, nil), "header: unexpected EOF"},
		{"cut", mnist, "train-images-idx3-ubyte", idx(0x803, []uint32{2, 2, 3}, make([]byte, 11)), "11 values of 12"},
		{"too long", mnist, "train-images-idx3-ubyte", idx(0x803, []uint32{2, 2, 3}, make([]byte, 13)), "goes on after its 12"},
		{"absurd", mnist, "train-images-idx3-ubyte", idx(0x803, []uint32{1 << 31, 1 << 31, 1 << 31}, nil), "sizes"},
		{"no images", mnist, "train-images-idx3-ubyte", idx(0x803, []uint32{0, 2, 3}, nil), "sizes"},
		{"labels", mnist, "train-labels-idx1-ubyte", idx(0x801, []uint32{3}, make([]byte, 3)), "has 2 images"},
		{"class", mnist, "train-labels-idx1-ubyte", idx(0x801, []uint32{2}, []byte{1, 10}), "label 1: class 10 of 10"},
		{"sizes differ", mnist, "t10k-images-idx3-ubyte", idx(0x803, []uint32{1, 2, 2}, make([]byte, 4)), "test images 2×2"},
		{"not gzip", mnist, "t10k-images-idx3-ubyte.gz", []byte("plain"), "t10k-images-idx3-ubyte.gz"},
		{"gzip cut", mnist, "t10k-images-idx3-ubyte.gz", zip(images)[:20], "unexpected EOF"},
		{"gzip corrupted", mnist, "t10k-images-idx3-ubyte.gz", flip(zip(images), -8), "checksum"},
		{"record", cifar, "data_batch_3.bin", make([]byte, 3072), "not records of 3073"},
		{"empty", cifar, "test_batch.bin", nil, "not records"},
		{"CIFAR class", cifar, "data_batch_2.bin", bytes.Repeat([]byte{77}, 3073), "record 0: class 77"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := c.dir(t)
			write(t, dir, c.file, c.data)
			if _, _, err := Open(dir); err == nil || !strings.Contains(err.Error(), c.part) {
				t.Errorf("error is %v, want one with %q", err, c.part)
			}
		})
	}
	dir := cifar(t)
	if err := os.Remove(filepath.Join(dir, "data_batch_4.bin")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "data_batch_4.bin") {
		t.Errorf("error is %v", err)
	}
}
