package contrastive_test

import (
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/internal/losstest"
)

// TestStorm evaluates losses while the garbage collector runs without a pause,
// goroutines come and go, and the scheduler interrupts all of them: registers and
// scratch memory must survive that.
func TestStorm(t *testing.T) {
	duration := time.Second
	if testing.Short() {
		duration = 100 * time.Millisecond
	}
	isatest.Each(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		b := contrastive.Batch{Query: losstest.Normal(r, 97, 65), Key: losstest.Normal(r, 97, 65)}
		losses := []contrastive.Loss{
			contrastive.InfoNCE{Options: options{Workers: 1}}, contrastive.CLIP{Options: options{Workers: 3}},
			contrastive.NTXent{}, contrastive.SigLIP{Bias: -10}, contrastive.CLIP{Temperature: 0.01},
		}
		type outcome struct {
			result contrastive.Result
			grads  contrastive.Gradients
		}
		var want []outcome
		for _, l := range losses {
			g := losstest.Destinations(b)
			want = append(want, outcome{losstest.Eval(t, "storm", l, b, g), g})
		}
		end := time.Now().Add(duration)
		during(func(work *sync.WaitGroup) {
			for i, l := range losses {
				work.Go(func() {
					for time.Now().Before(end) {
						g := losstest.Destinations(b)
						got, err := l.Eval(b, g)
						if err != nil || got != want[i].result || !losstest.SameGradients(g, want[i].grads) {
							t.Errorf("%T: %+v, want %+v (%v)", l, got, want[i].result, err)
							return
						}
					}
				})
			}
		})
	})
}

// during is a storm while work lasts: the garbage collector runs without a pause, and
// goroutines come and go.
func during(start func(work *sync.WaitGroup)) {
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	stop := make(chan struct{})
	var storm, work sync.WaitGroup
	for _, f := range []func(){
		runtime.GC,
		func() {
			done := make(chan []byte)
			go func() { done <- make([]byte, 1<<16) }()
			<-done
		},
	} {
		storm.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
				}
			}
		})
	}
	start(&work)
	work.Wait()
	close(stop)
	storm.Wait()
}
