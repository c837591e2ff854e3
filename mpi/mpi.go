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
// call belong to the library until it is done with them, and Close ends the whole job,
// on all ranks.
//
// The ranks compare their calls before they exchange data. If they make different
// ones, or give AllGather different counts, or AllReduce different lengths, all get an
// error at once; if a call has failed on one, so does the next call of the others.
// When a process of the job dies, the launchers of Open MPI and MPICH end the others;
// a rank that stops answering is noticed by the contexts of those that wait for it. So
// give every call a context with a deadline.
//
// All errors begin with "mpi: ".
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
	lost   []*transfer // that have failed, whose memory the library may still use
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
		if t.c.ended == 0 {
			return false
		}
		if t.err = t.end(); t.err != nil {
			w.lost = append(w.lost, t)
		}
		close(t.ended)
		return true
	})
	return true
}

func (w *World) init() error {
	var level C.int
	if err := check("MPI_Init_thread", C.shim_init(&level)); err != nil {
		return fmt.Errorf("mpi: %w", err)
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
// and it may wait for those that have not: it is the one call that no context ends. If
// another makes a call of another kind, both get an error. If the world is broken, or a
// transfer is under way, Close ends the processes of all ranks, this one included, with
// exit code 1.
func (w *World) Close() (err error) {
	w.do(func() {
		if w.broken != nil || w.shifts > 0 {
			C.shim_abort(1)
		}
	})
	ctx := context.Background()
	t, err := w.begin(ctx, callClose, 0, 0, nil)
	if err == nil {
		err = t.Wait(ctx)
	}
	if err != nil {
		return err
	}
	w.do(func() {
		if err = check("MPI_Finalize", C.shim_finalize()); err != nil {
			err = w.wrap(callClose, err)
		}
	})
	return err
}

// Abort ends the processes of all ranks with an exit code.
func (w *World) Abort(code int) { w.do(func() { C.shim_abort(C.int(code)) }) }

// A call is what the ranks compare before they exchange data.
type call uint64

const (
	callNone call = iota // after an error
	callAllGather
	callAllReduce
	callShift
	callClose
)

func (c call) String() string {
	return [...]string{"none", "AllGather", "AllReduce", "Shift", "Close"}[c]
}

// errBroken is what calls return after another has failed.
var errBroken = errors.New("an earlier call failed")

func (w *World) wrap(c call, err error) error {
	return fmt.Errorf("mpi: rank %d of %d: %v: %w", w.rank, w.size, c, err)
}

// fail breaks the world, on its thread. The other ranks learn of it with their next
// call.
func (w *World) fail(c call, err error) error {
	err = w.wrap(c, err)
	if w.broken == nil {
		w.broken = err
		t := w.newTransfer(callNone, 1)
		if C.shim_agree(t.c, C.uint64_t(callNone), 0) == C.MPI_SUCCESS {
			w.start(t)
		}
	}
	return err
}

func (w *World) healthy(c call) error {
	if w.broken != nil {
		return w.fail(c, fmt.Errorf("%w: %w", errBroken, w.broken))
	}
	return nil
}

var errNoContext = fmt.Errorf("ctx is nil: %w", contrastive.ErrParameter)

// contextError returns why ctx has ended: its error, and its cause if there is one.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// A transfer is operations that end together. The slices that the library reads
// and writes meanwhile are pinned.
type transfer struct {
	world  *World
	call   call
	c      *C.shim_transfer
	pins   runtime.Pinner
	ended  chan struct{} // closed when the library is done with c, or it has failed
	err    error         // once it has ended
	waited bool
	shifts int // 1 if it is a Shift
}

func (w *World) newTransfer(c call, room int) *transfer {
	return &transfer{world: w, call: c, c: C.shim_new(C.int(room)), ended: make(chan struct{})}
}

// start has the library look after t.
func (w *World) start(t *transfer) {
	C.shim_begin(t.c)
	w.begun = append(w.begun, t)
}

// begin compares the call and its argument with those of the other ranks, and starts
// the operations that f, unless it is nil, adds, at most room of them.
func (w *World) begin(ctx context.Context, c call, argument uint64, room int, f func(t *transfer) error) (*transfer, error) {
	return w.add(ctx, c, 1+room, func(t *transfer) error {
		if err := check("MPI_Iallreduce", C.shim_agree(t.c, C.uint64_t(c), C.uint64_t(argument))); err != nil || f == nil {
			return err
		}
		return f(t)
	})
}

// add starts the operations that f adds, at most room of them.
func (w *World) add(ctx context.Context, c call, room int, f func(t *transfer) error) (t *transfer, err error) {
	w.do(func() {
		switch {
		case ctx == nil:
			err = w.fail(c, errNoContext)
		case w.broken != nil:
			err = w.healthy(c)
		case ctx.Err() != nil:
			err = w.fail(c, contextError(ctx))
		case c == callShift && w.shifts == 2:
			err = w.fail(c, fmt.Errorf("two transfers are under way already: %w", contrastive.ErrParameter))
		}
		if err != nil {
			return
		}
		t = w.newTransfer(c, room)
		if err = f(t); err != nil {
			w.lost = append(w.lost, t)
			err = w.fail(c, err)
			return
		}
		w.start(t)
	})
	return t, err
}

// Wait implements [contrastive.Transfer]. If ctx ends first, the memory of t stays
// pinned until the library is done with it.
func (t *transfer) Wait(ctx context.Context) (err error) {
	if ctx != nil {
		select {
		case <-t.ended:
		case <-ctx.Done():
		}
	}
	w := t.world
	w.do(func() {
		switch {
		case ctx == nil:
			err = w.fail(t.call, errNoContext)
		case w.broken != nil:
			err = w.healthy(t.call)
		case t.waited:
			err = w.fail(t.call, fmt.Errorf("Wait called twice: %w", contrastive.ErrParameter))
		}
		if err != nil {
			return
		}
		t.waited = true
		w.shifts -= t.shifts
		select {
		case <-t.ended:
			err = t.err
		default:
			err = contextError(ctx)
		}
		if err != nil {
			err = w.fail(t.call, err)
		}
	})
	return err
}

// end frees what t holds, unless it has ended with an error.
func (t *transfer) end() error {
	switch {
	case t.c.error != C.MPI_SUCCESS:
		return check("MPI_Test", t.c.error)
	case t.c.differs != 0:
		return t.disagreement()
	case t.c.missing > 0:
		return fmt.Errorf("a message is %d elements shorter than dst: %w", int(t.c.missing), contrastive.ErrShape)
	}
	t.pins.Unpin()
	C.shim_free(t.c)
	t.c = nil
	return nil
}

// disagreement says how the calls of the ranks differ.
func (t *transfer) disagreement() error {
	heard := &t.c.heard
	greatest, least := call(heard[0]), call(^heard[1])
	if other := greatest; other != least {
		if other == t.call {
			other = least
		}
		if other == callNone {
			return errors.New("a call of another rank has failed")
		}
		return fmt.Errorf("another rank calls %v", other)
	}
	if t.call == callAllReduce {
		return fmt.Errorf("data has from %d to %d elements on the ranks: %w", ^heard[3], heard[2], contrastive.ErrShape)
	}
	return fmt.Errorf("the counts of the ranks differ: %w", contrastive.ErrShape)
}

func pointer(s []float32) *C.float { return (*C.float)(unsafe.Pointer(unsafe.SliceData(s))) }

// parts calls f for the parts of s: as many of limit elements as there are, and one
// that is shorter and may be empty, by which a message that is longer or shorter than
// expected is found whatever its length.
func (w *World) parts(s []float32, f func(part []float32) error) error {
	for ; len(s) >= w.limit; s = s[w.limit:] {
		if err := f(s[:w.limit]); err != nil {
			return err
		}
	}
	return f(s)
}

// count is the number of parts of n elements.
func (w *World) count(n int) int { return n/w.limit + 1 }

// Shift implements [contrastive.Collective]. A message longer than dst is an error
// of the library, one that is shorter ErrShape; both are found by Wait.
func (w *World) Shift(ctx context.Context, dst, src []float32) (contrastive.Transfer, error) {
	previous, next := C.int((w.rank+w.size-1)%w.size), C.int((w.rank+1)%w.size)
	t, err := w.begin(ctx, callShift, 0, w.count(len(dst))+w.count(len(src)), func(t *transfer) error {
		t.pin(dst)
		t.pin(src)
		if err := w.parts(dst, func(p []float32) error {
			return check("MPI_Irecv", C.shim_receive(t.c, pointer(p), C.int(len(p)), previous))
		}); err != nil {
			return err
		}
		if err := w.parts(src, func(p []float32) error {
			return check("MPI_Isend", C.shim_send(t.c, pointer(p), C.int(len(p)), next))
		}); err != nil {
			return err
		}
		t.shifts = 1
		w.shifts++
		return nil
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
	err := w.checkCounts(dst, src, counts)
	if err != nil {
		w.do(func() { err = w.fail(callAllGather, err) })
		return err
	}
	hash := uint64(0xcbf29ce484222325) // FNV-1a
	for _, n := range counts {
		hash = (hash ^ uint64(n)) * 0x100000001b3
	}
	t, err := w.begin(ctx, callAllGather, hash, 0, nil)
	if err != nil {
		return err
	}
	if err := t.Wait(ctx); err != nil {
		return err
	}
	return w.gather(ctx, callAllGather, dst, src, counts)
}

func (w *World) checkCounts(dst, src []float32, counts []int) error {
	rest := len(dst)
	for _, n := range counts {
		if n < 0 || n > rest {
			rest = -1
			break
		}
		rest -= n
	}
	if rest != 0 || len(counts) != w.size || len(src) != counts[w.rank] {
		return fmt.Errorf("dst has %d elements and src %d, for counts %v: %w", len(dst), len(src), counts, contrastive.ErrShape)
	}
	return nil
}

// gather gathers by counts that are the same on all ranks.
func (w *World) gather(ctx context.Context, c call, dst, src []float32, counts []int) error {
	room := 0
	for _, n := range counts {
		room += w.count(n)
	}
	t, err := w.add(ctx, c, room, func(t *transfer) error {
		t.pin(dst)
		t.pin(src)
		if len(dst) <= w.limit {
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
	sizes := make([]C.int, w.size)
	for r, n := range counts {
		sizes[r] = C.int(n)
	}
	return check("MPI_Iallgatherv", C.shim_all_gather(t.c, pointer(dst), pointer(src), &sizes[0]))
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
	t, err := w.begin(ctx, callAllReduce, uint64(len(data)), 0, nil)
	if err != nil {
		return err
	}
	if err := t.Wait(ctx); err != nil {
		return err
	}
	counts := make([]int, w.size)
	block := min(len(data), max(1, sumBlock/w.size))
	all := make([]float32, w.size*block)
	for {
		n := min(len(data), block)
		for r := range counts {
			counts[r] = n
		}
		if err := w.gather(ctx, callAllReduce, all[:w.size*n], data[:n], counts); err != nil {
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
