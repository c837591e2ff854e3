package main

import (
	"errors"
	"math/rand/v2"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/nn"
)

// MoCo is algorithm 1 of He, Fan, Wu, Xie and Girshick, "Momentum Contrast for
// Unsupervised Visual Representation Learning" (2020), with the projector of
// version 2 (Chen, Fan, Girshick and He, 2020):
//
//	f_k.params = f_q.params                          # initialise
//	for x in loader:
//	    x_q, x_k = aug(x), aug(x)
//	    q = f_q.forward(x_q)
//	    k = f_k.forward(x_k)                         # no gradient to keys
//	    loss = CrossEntropyLoss([q·k, q·queue] / t)
//	    loss.backward(); update(f_q.params)
//	    f_k.params = m·f_k.params + (1−m)·f_q.params # momentum update
//	    enqueue(queue, k); dequeue(queue)
//
// Statistics of a batch that holds a query and its key would tell the one about
// the other, by which the loss falls without anything being learnt. Against that
// leak the batch is normalised in shards, and the keys are dealt to shards in a
// random order ("Shuffling BN", section 3.3): the shard of a query's key holds the
// keys of other queries.
type MoCo struct {
	fq, gq, fk, gk nn.Sequential
	queue          *contrastive.Queue
	momentum       float32
	seed           uint64
	temperature    *temperature
	optimizer      nn.Optimizer
}

var moco = recipe{
	title:    "MoCo v2",
	accuracy: true,
	defaults: func(s *Settings) {
		// A momentum of 0.999 remembers a thousand steps, more than a run has.
		s.Temperature, s.Queue, s.Shards, s.Momentum = 0.2, 4096, 8, 0.99
	},
	make: func(s *Settings, inputs, _ int, rng *rand.Rand) (Method, error) {
		m := &MoCo{momentum: float32(s.Momentum), seed: s.Seed, temperature: newTemperature(s)}
		m.fq, m.gq = newEncoder(s, inputs, rng), newProjector(s, rng)
		m.fk, m.gk = newEncoder(s, inputs, rng), newProjector(s, rng)
		setShards(s.Shards, m.fq, m.gq, m.fk, m.gk)
		m.optimizer = &nn.AdamW{Params: nn.Params(m.fq, m.gq), WeightDecay: s.Decay}
		if err := m.follow(0); err != nil {
			return nil, err
		}
		var err error
		m.queue, err = contrastive.NewQueue(s.Queue, s.Embedding)
		return m, err
	},
}

// Step implements Method. In the first step the queue is empty: the loss is 0, and
// nothing is learnt.
func (m *MoCo) Step(b *Batch) (Stats, error) {
	xq, xk := halves(b.Views())
	q := m.gq.Forward(m.fq.Forward(xq, true), true)
	k := m.encodeKeys(xk, b.Step)

	// An image may be in the queue from an epoch ago. It is no negative of its own
	// view.
	dq := contrastive.NewMatrix(q.Rows, q.Cols)
	tau := m.temperature.value()
	r, err := contrastive.InfoNCE{Temperature: tau}.Eval(
		contrastive.Batch{Query: q, Key: k, Queue: m.queue, Labels: b.Images[0]},
		contrastive.Gradients{Query: dq})
	if err != nil {
		return Stats{}, err
	}
	m.fq.Backward(m.gq.Backward(dq, true), false)
	if err := errors.Join(m.optimizer.Step(b.Rate), m.temperature.update(r, b.Rate)); err != nil {
		return Stats{}, err
	}

	if err := m.follow(m.momentum); err != nil {
		return Stats{}, err
	}
	if err := m.queue.Enqueue(k, b.Images[0]...); err != nil {
		return Stats{}, err
	}
	return Stats{Result: r, Temperature: float64(tau), Z1: q, Z2: k}, nil
}

// encodeKeys shuffles the views, encodes them and restores their order.
func (m *MoCo) encodeKeys(x contrastive.Matrix, step int) contrastive.Matrix {
	order := rand.New(rand.NewPCG(mix(m.seed, streamShuffle), uint64(step))).Perm(x.Rows)
	shuffled := contrastive.NewMatrix(x.Rows, x.Cols)
	for i, from := range order {
		copy(shuffled.Row(i), x.Row(from))
	}
	z := m.gk.Forward(m.fk.Forward(shuffled, true), true)
	keys := contrastive.NewMatrix(z.Rows, z.Cols)
	for i, to := range order {
		copy(keys.Row(to), z.Row(i))
	}
	return keys
}

// follow moves the key encoder towards that of the queries.
func (m *MoCo) follow(momentum float32) error {
	return contrastive.MomentumUpdates(nn.Values(m.fk, m.gk), nn.Values(m.fq, m.gq), momentum)
}

// Represent implements Method.
func (m *MoCo) Represent(x contrastive.Matrix) contrastive.Matrix { return m.fq.Forward(x, false) }

// State implements Method.
func (m *MoCo) State() [][]float32 {
	return append(state(m.optimizer, m.fq, m.gq, m.fk, m.gk), m.temperature.state()...)
}

// Queue implements Queuer.
func (m *MoCo) Queue() *contrastive.Queue { return m.queue }

// SetQueue implements Queuer.
func (m *MoCo) SetQueue(q *contrastive.Queue) { m.queue = q }
