package kernel

import (
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/contrastive-go/contrastive/internal/isa"
)

// TestTileStorm multiplies on AMX tiles in many goroutines, old ones and new ones,
// while the garbage collector runs without a pause, the profiler interrupts every
// thread, the kernel switches threads within products, and threads die: tiles are a
// state that Go does not know of, and none of it may be lost or leak. It takes 5 seconds,
// or CONTRASTIVE_STORM, "60s" say.
func TestTileStorm(t *testing.T) {
	defer func(l isa.Level) { isa.Active = l }(isa.Active)
	if isa.Set("amx") != nil {
		t.Skip("needs AMX")
	}
	duration := 5 * time.Second
	if testing.Short() {
		duration = 500 * time.Millisecond
	}
	if v := os.Getenv("CONTRASTIVE_STORM"); v != "" {
		var err error
		if duration, err = time.ParseDuration(v); err != nil {
			t.Fatalf("CONTRASTIVE_STORM: %v", err)
		}
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4 * runtime.NumCPU())) // so that threads are switched
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	if err := pprof.StartCPUProfile(io.Discard); err == nil {
		defer pprof.StopCPUProfile()
	}

	const (
		side   = SplitSide
		rows   = 96
		blocks = 8
		owners = 48
	)
	// A product of its own for each goroutine: tiles that leak give another's.
	newProduct := func(seed uint64) func(c []float32) {
		r, pieces := rand.New(rand.NewPCG(1, seed)), 1+int(seed%MaxPieces)
		left, right := make([]float32, blocks*rows*side), make([]float32, blocks*side*side)
		deviates(r, left)
		deviates(r, right)
		piece, square := rows*RowWords, pieces*SquareWords
		a, b := make([]uint32, blocks*pieces*piece), make([]uint32, blocks*square)
		for n := range blocks {
			Active().SplitRows(a[n*pieces*piece:], piece, left[n*rows*side:], side, rows, pieces)
			Active().SplitCols(b[n*square:], right[n*side*side:], side, pieces)
		}
		return func(c []float32) {
			Active().MulSplit(c, side, a, pieces*piece, piece, b, square, rows, blocks, pieces, false)
		}
	}
	var calls, wrong atomic.Int64
	end := time.Now().Add(duration)
	var all sync.WaitGroup
	for owner := range uint64(owners) {
		multiply := newProduct(owner)
		want := make([]float32, rows*side)
		multiply(want)
		check := func() {
			c := make([]float32, rows*side)
			multiply(c)
			calls.Add(1)
			if !slices.Equal(c, want) {
				wrong.Add(1)
			}
		}
		all.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				check()
				if n%8 == 0 {
					done := make(chan bool)
					go func() {
						runtime.LockOSThread() // the thread ends with the goroutine
						check()
						close(done)
					}()
					<-done
				}
			}
		})
	}
	all.Go(func() {
		for time.Now().Before(end) {
			runtime.GC()
		}
	})
	all.Wait()
	t.Logf("%d products", calls.Load())
	if n := wrong.Load(); n > 0 {
		t.Errorf("%d of %d products are wrong", n, calls.Load())
	}
}
