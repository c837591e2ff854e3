// Scaling measures how sharded losses scale over the ranks of an MPI job, and
// models more ranks than there are:
//
//	go build -C mpi -o scaling.out ./scaling
//	for n in 1 2 4; do mpirun -np $n --oversubscribe mpi/scaling.out; done
//
// Rank 0 prints rows of a Markdown table: one for each way, of a CLIP loss with all
// gradients over -n rows a rank and one worker. With -model it prints the modelled
// table after it, from the processor time of this run.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/mpi"
)

func main() {
	log.SetFlags(0)
	n := flag.Int("n", 2048, "rows of each rank")
	d := flag.Int("d", 256, "dimensions")
	repeat := flag.Int("repeat", 5, "evaluations, of which the median counts")
	model := flag.Bool("model", false, "also print the modelled cost of 8 to 1024 ranks")
	ring := flag.Bool("ring", false, "only the ring: peak memory is that of a process")
	gigabits := flag.Float64("gigabits", 100, "rate of the modelled network, in Gb/s")
	flag.Parse()
	world, err := mpi.Init()
	if err != nil {
		log.Fatal(err)
	}
	if err := run(world, *n, *d, *repeat, *ring, *model, *gigabits); err != nil {
		log.Print(err)
		world.Abort(1)
	}
	if err := world.Close(); err != nil {
		log.Fatal(err)
	}
}

func run(world *mpi.World, n, d, repeat int, ring, model bool, gigabits float64) error {
	r := rand.New(rand.NewPCG(1, uint64(world.Rank())))
	q, k := contrastive.NewMatrix(n, d), contrastive.NewMatrix(n, d)
	for i := range q.Data {
		q.Data[i], k.Data[i] = float32(r.NormFloat64()), float32(r.NormFloat64())
	}
	g := contrastive.Gradients{Query: contrastive.NewMatrix(n, d), Key: contrastive.NewMatrix(n, d)}
	before, err := peak()
	if err != nil {
		return err
	}
	counted := &counter{Collective: world}
	loss := contrastive.Sharded{
		Loss:       contrastive.CLIP{Options: contrastive.Options{Workers: 1}},
		Collective: counted, Ring: ring,
	}
	var times, processor []float64
	for range repeat {
		counted.sent = 0
		start, used := time.Now(), processorTime()
		if _, err := loss.Eval(context.Background(), contrastive.Batch{Query: q, Key: k}, g); err != nil {
			return err
		}
		times = append(times, time.Since(start).Seconds())
		processor = append(processor, (processorTime() - used).Seconds())
	}
	after, err := peak()
	if err != nil || world.Rank() != 0 {
		return err
	}
	way := "gathered"
	if ring {
		way = "ring"
	}
	fmt.Printf("| %d | %s | %d | %.0f | %.0f | %.1f | %.1f |\n", world.Size(), way, n*world.Size(), 1e3*median(times), 1e3*median(processor),
		float64(counted.sent)/mib, float64(after-before)/mib)
	if model {
		table(n, d, flops(n, world.Size(), d)/median(processor), gigabits, float64(after-before))
	}
	return nil
}

const mib = 1 << 20

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// processorTime returns what all threads of the process have used.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// flops is the number of operations of a rank: four products of its rows with all
// columns.
func flops(n, ranks, d int) float64 { return 4 * 2 * float64(n) * float64(n*ranks) * float64(d) }

// table models more ranks. A ring sends the keys twice around, for the sums and for
// the gradients, while it computes; the gradients of a block follow, and go one step
// further, home. Gathered, the keys come once, before the computation, and the
// gradients go home after it. What a ring holds does not depend on the ranks;
// gathered, a rank also holds the keys of the others, their gradients, and layouts of
// both for the kernels: six blocks for each rank, and six more.
func table(n, d int, rate, gigabits, held float64) {
	bandwidth := gigabits / 8 * 1e9
	fmt.Printf(`
At %.1f GFLOP/s a rank and %.0f Gb/s:

| ranks | batch | compute, s | ring: MiB sent | transfer, s | hidden, %% | in all, s | MiB held | gathered: MiB sent | transfer, s | in all, s | MiB held |
|---|---|---|---|---|---|---|---|---|---|---|---|
`, rate/1e9, gigabits)
	for ranks := 8; ranks <= 1024; ranks *= 2 {
		p, block := float64(ranks), 4*float64(n*d)
		compute := flops(n, ranks, d) / rate
		keys, grads := (p-1)*block, p*block

		ringSent, last := 2*keys+grads, block/bandwidth // the last block is waited for
		ringTransfer := ringSent / bandwidth
		hidden := math.Min(compute, ringTransfer-last)

		gatheredSent := keys + grads
		gatheredTransfer := gatheredSent / bandwidth
		fmt.Printf("| %d | %d | %.1f | %.0f | %.4f | %.1f | %.1f | %.0f | %.0f | %.4f | %.1f | %.0f |\n", ranks, n*ranks, compute,
			ringSent/mib, ringTransfer, 100*hidden/ringTransfer, compute+ringTransfer-hidden, held/mib,
			gatheredSent/mib, gatheredTransfer, compute+gatheredTransfer, (6*p+6)*block/mib)
	}
}

// A counter counts the bytes that a rank sends.
type counter struct {
	contrastive.Collective
	sent int
}

func (c *counter) AllGather(ctx context.Context, dst, src []float32, counts []int) error {
	c.sent += 4 * len(src) * (c.Size() - 1)
	return c.Collective.AllGather(ctx, dst, src, counts)
}

func (c *counter) Shift(ctx context.Context, dst, src []float32) (contrastive.Transfer, error) {
	c.sent += 4 * len(src)
	return c.Collective.Shift(ctx, dst, src)
}

// peak returns the greatest memory that the process has held so far, in bytes, as
// Linux counts it.
func peak() (int, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		if fields := bytes.Fields(line); len(fields) == 3 && string(fields[0]) == "VmHWM:" {
			kib, err := strconv.Atoi(string(fields[1]))
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/self/status has no VmHWM")
}
