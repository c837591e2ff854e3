// Package mpi connects the ranks of an MPI job: a [contrastive.Collective] over any
// MPI library that pkg-config knows as mpi-c, such as Open MPI and MPICH.
//
//	world, err := mpi.Init()
//	defer world.Close()
//	r, err := contrastive.Sharded{Loss: loss, Collective: world, Ring: true}.Eval(ctx, batch, gradients)
//
// It is a module of its own and needs cgo and the library's headers; programs that
// do not import it need neither.
//
// # Threads
//
// All calls of the library, from MPI_Init_thread on, are made by one goroutine that
// is locked to its thread: MPI_THREAD_FUNNELED suffices, which every library has. The
// methods of World may be called from any goroutine, by one at a time.
//
// While a transfer is under way that thread stays in C, where it looks after the
// transfer and sleeps in between: most libraries move long messages only while they
// are called, and a goroutine would come to it only when the scheduler has a
// processor left over from the computation.
//
// # Failure
//
// MPI cannot take back a call. When a context ends, or the library reports an error,
// the world is broken: every later call returns an error, the slices of the failed
// call belong to the library for ever and are never freed, and Close ends the whole
// job, on all ranks. When a process of the job dies, the launchers of Open MPI and
// MPICH end the others; a rank that stops answering is noticed by the contexts of
// those that wait for it. So give every call a context with a deadline.
package mpi

/*
#cgo pkg-config: mpi-c
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"unsafe"

	"github.com/contrastive-go/contrastive"
)

// World is the job: all ranks that the launcher started.
type World struct {
	rank, size int
	jobs       chan func()
	limit      int // elements of a message, of which MPI counts 2³¹−1

	// These belong to the locked thread.
	begun  []*transfer // under way in the library
	shifts int         // of which Wait has not returned
	broken error
	lost   []*transfer // whose memory the library may still use
}

var _ contrastive.Collective = (*World)(nil)

var initialised sync.Once

// Init starts MPI. It can be called once in a process. A process that no launcher
// started is a world of one rank; one whose launcher says otherwise, because it is
// that of another library, gets an error.
func Init() (*World, error) {
	w := &World{jobs: make(chan func()), limit: math.MaxInt32}
	err := errors.New("mpi: Init called twice")
	initialised.Do(func() {
		ready := make(chan error)
		go w.serve(ready)
		err = <-ready
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// serve makes all calls of the library.
func (w *World) serve(ready chan<- error) {
	runtime.LockOSThread() // for ever: it is the thread that MPI was initialised by
	ready <- w.init()
	for {
		if len(w.begun) == 0 || !w.move() {
			job := <-w.jobs
			C.shim_call(-1)
			job()
		}
	}
}

// move moves the transfers on until one has ended. It returns false if there is a
// job first.
func (w *World) move() bool {
	if C.shim_serve() == 0 {
		return false
	}
	w.begun = slices.DeleteFunc(w.begun, func(t *transfer) bool {
		ended := t.c.ended != 0
		if ended {
			close(t.ended)
		}
		return ended
	})
	return true
}

func (w *World) init() error {
	var level C.int
	if err := check("MPI_Init_thread", C.shim_init(&level)); err != nil {
		return err
	}
	if level < C.MPI_THREAD_FUNNELED {
		return fmt.Errorf("mpi: the library gives thread level %d, and MPI_THREAD_FUNNELED is %d", level, int(C.MPI_THREAD_FUNNELED))
	}
	w.rank, w.size = int(C.shim_rank()), int(C.shim_size())
	return launched(w.size)
}

// launched compares the size of the world with what the launcher says. A program
// under the launcher of another library is a world of one. In greater worlds the
// variables may be those of an outer launcher, such as that of a batch system.
func launched(size int) error {
	for _, name := range []string{"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"} {
		n, err := strconv.Atoi(os.Getenv(name))
		if err != nil {
			continue
		}
		if n != size && size == 1 {
			return fmt.Errorf("mpi: the launcher started %d ranks (%s), and %s sees 1: it is the launcher of another library", n, name, Library())
		}
		return nil
	}
	return nil
}

// Library returns the name and version of the MPI library.
func Library() string {
	var name [C.MPI_MAX_LIBRARY_VERSION_STRING]C.char
	var n C.int
	C.MPI_Get_library_version(&name[0], &n)
	return C.GoStringN(&name[0], n)
}

// check returns the library's text for an error code.
func check(call string, code C.int) error {
	if code == C.MPI_SUCCESS {
		return nil
	}
	var text [C.MPI_MAX_ERROR_STRING]C.char
	var n C.int
	C.MPI_Error_string(code, &text[0], &n)
	return fmt.Errorf("%s: %s", call, C.GoStringN(&text[0], n))
}

// do calls f on the locked thread.
func (w *World) do(f func()) {
	done := make(chan struct{})
	C.shim_call(1) // or the thread would not look at jobs
	w.jobs <- func() { defer close(done); f() }
	<-done
}

// Rank implements [contrastive.Collective].
func (w *World) Rank() int { return w.rank }

// Size implements [contrastive.Collective].
func (w *World) Size() int { return w.size }

// Close ends MPI in this process; no other call may follow. All ranks must call it,
// and it may wait for those that have not: it is the one call that no context ends.
// If the world is broken, or a transfer is under way, it ends the processes of all ranks, this one included, with
// exit code 1.
func (w *World) Close() (err error) {
	w.do(func() {
		if w.broken != nil || len(w.begun) > 0 || w.shifts > 0 {
			C.shim_abort(1)
		}
		err = check("MPI_Finalize", C.shim_finalize())
	})
	if err != nil {
		return fmt.Errorf("mpi: rank %d of %d: %w", w.rank, w.size, err)
	}
	return nil
}

// Abort ends the processes of all ranks with an exit code.
func (w *World) Abort(code int) { w.do(func() { C.shim_abort(C.int(code)) }) }

// errBroken is what calls return after another has failed.
var errBroken = errors.New("an earlier call failed")

// fail breaks the world, on its thread.
func (w *World) fail(call string, err error) error {
	err = fmt.Errorf("mpi: rank %d of %d: %s: %w", w.rank, w.size, call, err)
	if w.broken == nil {
		w.broken = err
	}
	return err
}

func (w *World) healthy(call string) error {
	if w.broken != nil {
		return w.fail(call, fmt.Errorf("%w: %w", errBroken, w.broken))
	}
	return nil
}

// A transfer is operations that end together. The slices that the library reads
// and writes meanwhile are pinned.
type transfer struct {
	world  *World
	call   string
	c      *C.shim_transfer
	pins   runtime.Pinner
	ended  chan struct{} // closed when the library is done with c
	waited bool
	shifts int // 1 if it is a Shift
}

// begin starts the operations that f adds, at most room of them.
func (w *World) begin(ctx context.Context, call string, room int, f func(t *transfer) error) (*transfer, error) {
	t := &transfer{world: w, call: call, ended: make(chan struct{})}
	var err error
	w.do(func() {
		if err = w.healthy(call); err != nil {
			return
		}
		if ctx.Err() != nil {
			err = w.fail(call, context.Cause(ctx))
			return
		}
		t.c = C.shim_new(C.int(room))
		if err = f(t); err != nil {
			w.lost = append(w.lost, t)
			err = w.fail(call, err)
			return
		}
		C.shim_begin(t.c)
		w.begun = append(w.begun, t)
	})
	return t, err
}

// Wait implements [contrastive.Transfer]. If ctx ends first, the memory of t stays
// pinned, and the library's.
func (t *transfer) Wait(ctx context.Context) (err error) {
	select {
	case <-t.ended:
	case <-ctx.Done():
	}
	w := t.world
	w.do(func() {
		if err = w.healthy(t.call); err != nil {
			return
		}
		if t.waited {
			err = w.fail(t.call, fmt.Errorf("Wait called twice: %w", contrastive.ErrParameter))
			return
		}
		t.waited = true
		w.shifts -= t.shifts
		select {
		case <-t.ended:
			err = t.end()
		default:
			err = context.Cause(ctx)
		}
		if err != nil {
			w.lost = append(w.lost, t)
			err = w.fail(t.call, err)
		}
	})
	return err
}

// end frees what t holds, unless it has ended with an error.
func (t *transfer) end() error {
	if err := check("MPI_Testall", t.c.error); err != nil {
		return err
	}
	missing := int(t.c.missing)
	t.pins.Unpin()
	C.shim_free(t.c)
	t.c = nil
	if missing > 0 {
		return fmt.Errorf("the message is %d elements shorter than dst: %w", missing, contrastive.ErrShape)
	}
	return nil
}

func pointer(s []float32) *C.float { return (*C.float)(unsafe.Pointer(unsafe.SliceData(s))) }

// parts calls f for parts of s that MPI can count, and once if s is empty.
func (w *World) parts(s []float32, f func(part []float32) error) error {
	for {
		n := min(len(s), w.limit)
		if err := f(s[:n]); err != nil {
			return err
		}
		if s = s[n:]; len(s) == 0 {
			return nil
		}
	}
}

func (w *World) count(n int) int { return max(1, (n+w.limit-1)/w.limit) }

// Shift implements [contrastive.Collective]. A message longer than dst is an error
// of the library, one that is shorter ErrShape; both are found by Wait.
func (w *World) Shift(ctx context.Context, dst, src []float32) (contrastive.Transfer, error) {
	previous, next := C.int((w.rank+w.size-1)%w.size), C.int((w.rank+1)%w.size)
	t, err := w.begin(ctx, "Shift", w.count(len(dst))+w.count(len(src)), func(t *transfer) error {
		if w.shifts == 2 {
			return fmt.Errorf("two transfers are under way already: %w", contrastive.ErrParameter)
		}
		t.pin(dst)
		t.pin(src)
		if err := w.parts(dst, func(p []float32) error {
			return check("MPI_Irecv", C.shim_receive(t.c, pointer(p), C.int(len(p)), previous))
		}); err != nil {
			return err
		}
		t.shifts = 1
		w.shifts++
		return w.parts(src, func(p []float32) error {
			return check("MPI_Isend", C.shim_send(t.c, pointer(p), C.int(len(p)), next))
		})
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (t *transfer) pin(s []float32) {
	if len(s) > 0 {
		t.pins.Pin(unsafe.SliceData(s))
	}
}

// AllGather implements [contrastive.Collective].
func (w *World) AllGather(ctx context.Context, dst, src []float32, counts []int) error {
	const call = "AllGather"
	total, room, least := 0, 0, 0
	for _, n := range counts {
		total += n
		room += w.count(n)
		least = min(least, n)
	}
	if least < 0 || len(counts) != w.size || len(src) != counts[w.rank] || len(dst) != total {
		err := fmt.Errorf("dst has %d elements and src %d, for counts %v: %w", len(dst), len(src), counts, contrastive.ErrShape)
		w.do(func() { err = w.fail(call, err) })
		return err
	}
	t, err := w.begin(ctx, call, max(1, room), func(t *transfer) error {
		t.pin(dst)
		t.pin(src)
		if total <= w.limit {
			return w.gatherAtOnce(t, dst, src, counts)
		}
		return w.gatherInParts(t, dst, src, counts)
	})
	if err != nil {
		return err
	}
	return t.Wait(ctx)
}

func (w *World) gatherAtOnce(t *transfer, dst, src []float32, counts []int) error {
	sizes, places := make([]C.int, w.size), make([]C.int, w.size)
	at := 0
	for r, n := range counts {
		sizes[r], places[r] = C.int(n), C.int(at)
		at += n
	}
	// The library may read these until the transfer ends.
	t.pins.Pin(&sizes[0])
	t.pins.Pin(&places[0])
	return check("MPI_Iallgatherv", C.shim_all_gather(t.c, pointer(dst), pointer(src), &sizes[0], &places[0]))
}

// gatherInParts is for more elements than MPI can count: each rank broadcasts its
// own, part by part.
func (w *World) gatherInParts(t *transfer, dst, src []float32, counts []int) error {
	for r, n := range counts {
		own := dst[:n]
		dst = dst[n:]
		if r == w.rank {
			copy(own, src)
		}
		if n == 0 {
			continue
		}
		if err := w.parts(own, func(p []float32) error {
			return check("MPI_Ibcast", C.shim_broadcast(t.c, pointer(p), C.int(len(p)), C.int(r)))
		}); err != nil {
			return err
		}
	}
	return nil
}

// sumBlock is the number of elements, those of all ranks together, that AllReduce
// holds at a time.
const sumBlock = 1 << 18

// AllReduce implements [contrastive.Collective]. MPI's own sums may differ from
// run to run; these are of float64, in the order of the ranks.
func (w *World) AllReduce(ctx context.Context, data []float32) error {
	counts := make([]int, w.size)
	block := min(len(data), max(1, sumBlock/w.size))
	all := make([]float32, w.size*block)
	for {
		n := min(len(data), block)
		for r := range counts {
			counts[r] = n
		}
		if err := w.AllGather(ctx, all[:w.size*n], data[:n], counts); err != nil {
			return err
		}
		for i := range n {
			sum := 0.0
			for r := range w.size {
				sum += float64(all[r*n+i])
			}
			data[i] = float32(sum)
		}
		if data = data[n:]; len(data) == 0 {
			return nil
		}
	}
}
