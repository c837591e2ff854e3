package adapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/nn"
	"github.com/contrastive-go/contrastive/retrieval"
	"github.com/contrastive-go/contrastive/simd"
)

// Fit trains an adapter on pairs of queries and documents that answer them.
//
// A step takes a batch of pairs, in which no query and no document is there twice, and
// no document answers two of the queries, maps it, and moves the map, by [nn.AdamW],
// against the gradient of the loss. After each epoch queries that are held out are
// ranked. The adapter that is returned is the one of the epoch with the greatest NDCG at
// 10, which may be the identity it began with.
//
// The temperature is learned, as CLIP does, between 0.01 and 1, if the loss is CLIP,
// InfoNCE, SigLIP, whose bias is learned, too, NTXent, DCL or HardNegative, or a
// Matryoshka or Sum of such that begin with the same one. Losses of batches that need
// labels or scores cannot be used.
//
// Fit takes memory for the map and its optimiser, 4 times its parameters, a batch, and
// the documents of a validation, up to twice if Sides is not Queries. A step allocates
// nothing. With the same Seed, results are the same bits for any number of workers and
// from run to run, on one instruction set.
//
// If ctx ends, or a loss or an optimiser fails, Fit returns the best adapter so far with
// an error, which wraps ctx.Err and the cause if ctx has ended. With other errors, those
// of data and settings, the adapter is nil.
func Fit(ctx context.Context, data Data, config Config) (*Adapter, error) {
	a, err := fit(ctx, data, config)
	if err != nil {
		err = fmt.Errorf("adapter: Fit: %w", err)
	}
	return a, err
}

func fit(ctx context.Context, data Data, config Config) (*Adapter, error) {
	if ctx == nil {
		return nil, fmt.Errorf("the context is nil: %w", contrastive.ErrParameter)
	}
	data = data.withKeys()
	if err := data.check(); err != nil {
		return nil, err
	}
	c := config.withDefaults(data.Queries.Cols)
	if err := c.check(data.Queries.Cols); err != nil {
		return nil, err
	}
	t, err := newTrainer(data, c)
	if err != nil {
		return nil, err
	}
	return t.run(ctx)
}

// A trainer is the state of one call of Fit.
type trainer struct {
	data    Data
	config  Config
	answers [][]int

	model, best *Adapter
	loss        *trainedLoss
	temperature *nn.Temperature // nil if it is not learned
	bias        *nn.Scalar      // nil if there is none
	optimizer   nn.AdamW
	sampler     *sampler
	validation  *validation // nil if no query is held out

	queries, documents directions

	steps        int // of an epoch
	step, epoch  int // done
	withoutBest  int // epochs since the best one
	query, other *network

	batch         []pair
	hard          []int // documents
	hardCounts    []int
	weights       []float32
	dQuery, dRest contrastive.Matrix
	source        rand.PCG
	random        *rand.Rand
	progress      Progress
	fixed         []setting // once they are known
}

func newTrainer(data Data, c Config) (*trainer, error) {
	t := &trainer{data: data, config: c, answers: data.answers()}
	train, held, err := data.split(t.answers, c)
	if err != nil {
		return nil, err
	}
	t.model = newAdapter(c.Kind, c.Sides, data.Queries.Cols, c.width(), c.Seed)
	t.query, t.other = t.model.Query.newNetwork(), t.model.Document.newNetwork()
	t.query.layers.SetWorkers(c.Workers)
	t.other.layers.SetWorkers(c.Workers)
	if err := t.setLoss(); err != nil {
		return nil, err
	}
	modules := []nn.Module{}
	for _, m := range t.model.modules() {
		modules = append(modules, m)
	}
	if t.temperature != nil {
		modules = append(modules, t.temperature)
	}
	if t.bias != nil {
		modules = append(modules, t.bias)
	}
	t.optimizer = nn.AdamW{Params: nn.Params(modules...), WeightDecay: c.WeightDecay, Workers: c.Workers}
	t.queries, t.documents = newDirections(data.Queries), newDirections(data.Documents)
	t.sampler = newSampler(train, t.answers, data.Documents.Rows, c.BatchSize, c.Seed)
	t.steps = t.sampler.steps()
	t.random = rand.New(&t.source)
	if len(held) > 0 {
		t.validation = newValidation(&t.data, t.answers, held, c)
	}
	if t.config.WarmupSteps == 0 {
		t.config.WarmupSteps = t.steps * c.Epochs / 10
	}
	t.model.Training = Training{Loss: t.loss.description, Pairs: len(train), ValidationQueries: len(held)}
	t.progress = Progress{Steps: t.steps * c.Epochs, Epochs: c.Epochs, NDCG: math.NaN(), Best: math.NaN()}
	return t, nil
}

// directions are vectors and the inverses of their norms: those of a batch take longer to
// compute than to multiply by, and every epoch has the same.
type directions struct {
	vectors contrastive.Matrix
	inverse []float64 // 0 for a vector of zeros
}

func newDirections(m contrastive.Matrix) directions {
	d := directions{m, make([]float64, m.Rows)}
	for i := range d.inverse {
		x := m.Row(i)
		if square := simd.DotFloat64(x, x); square != 0 {
			d.inverse[i] = 1 / math.Sqrt(square)
		}
	}
	return d
}

// store stores vector i, at unit length, in dst.
func (d directions) store(dst []float32, i int) {
	simd.ScaleTo(dst, d.vectors.Row(i), d.inverse[i])
}

func (t *trainer) setLoss() error {
	l := t.config.Loss
	if l == nil {
		l = contrastive.CLIP{}
		for _, hard := range t.data.Hard {
			if len(hard) > 0 {
				l = contrastive.InfoNCE{InBatch: true}
				break
			}
		}
	}
	if v := reflect.ValueOf(l); v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Errorf("Config.Loss is a nil %T: %w", l, contrastive.ErrParameter)
	}
	t.loss = newTrainedLoss(l, t.config.Workers)
	if t.config.FixedTemperature {
		return nil
	}
	if tau, ok := same(t.loss.temperatures); ok {
		if !(tau > 0) || math.IsInf(float64(tau), 1) {
			return fmt.Errorf("Config.Loss has a Temperature of %v, which must be positive and finite: %w", tau, contrastive.ErrParameter)
		}
		t.temperature = nn.NewTemperature(tau)
	}
	if bias, ok := same(t.loss.biases); ok {
		t.bias = nn.NewScalar("bias", bias)
	}
	return nil
}

func (t *trainer) run(ctx context.Context) (*Adapter, error) {
	resumed := false
	if t.config.Resume {
		var err error
		if resumed, err = t.resume(); err != nil {
			return nil, err
		}
	}
	if !resumed {
		if err := t.begin(); err != nil {
			return nil, err
		}
	}
	t.report(true)
	for t.epoch < t.config.Epochs && !t.stops() {
		if err := t.runEpoch(ctx); err != nil {
			return t.best, err
		}
	}
	return t.best, nil
}

// begin ranks with the identity.
func (t *trainer) begin() error {
	t.best = t.model.clone()
	if t.validation == nil {
		return nil
	}
	ndcg, err := t.validation.ndcg(t.model)
	if err != nil {
		return err
	}
	t.best.Training.NDCGBefore, t.best.Training.NDCG = ndcg, ndcg
	t.model.Training.NDCGBefore = ndcg
	t.progress.NDCG, t.progress.Best = ndcg, ndcg
	return nil
}

func (t *trainer) stops() bool {
	return t.validation != nil && t.config.Patience > 0 && t.withoutBest >= t.config.Patience
}

func (t *trainer) runEpoch(ctx context.Context) error {
	t.sampler.begin(t.epoch)
	done := t.step - t.epoch*t.steps
	for range done {
		t.batch = t.sampler.next(t.batch[:0])
	}
	for range t.steps - done {
		if err := ctx.Err(); err != nil {
			return errors.Join(t.interrupted(ctx), t.checkpoint())
		}
		if err := t.train(); err != nil {
			return fmt.Errorf("step %d of epoch %d: %w", t.step-t.epoch*t.steps+1, t.epoch+1, err)
		}
		t.report(false)
	}
	t.epoch++
	if err := t.validate(); err != nil {
		return fmt.Errorf("epoch %d: %w", t.epoch, err)
	}
	if err := t.checkpoint(); err != nil {
		return err
	}
	t.report(true)
	return nil
}

func (t *trainer) interrupted(ctx context.Context) error {
	err := fmt.Errorf("after step %d of %d: %w", t.step, t.progress.Steps, ctx.Err())
	if cause := context.Cause(ctx); !errors.Is(ctx.Err(), cause) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// validate keeps the adapter if it is the best.
func (t *trainer) validate() error {
	if err := t.checkRate(); err != nil {
		return err
	}
	now := &t.model.Training
	now.Steps, now.Epochs, now.BestEpoch = t.step, t.epoch, t.epoch
	now.Temperature = t.progress.Temperature
	better := true
	if t.validation != nil {
		ndcg, err := t.validation.ndcg(t.model)
		if err != nil {
			return err
		}
		better = ndcg > t.progress.Best
		t.progress.NDCG, t.progress.Best = ndcg, max(ndcg, t.progress.Best)
		now.NDCG = ndcg
	}
	if !better {
		t.withoutBest++
		t.best.Training.Steps, t.best.Training.Epochs = t.step, t.epoch
		return nil
	}
	t.withoutBest = 0
	t.best.set(t.model)
	t.best.Training = *now
	return nil
}

func (t *trainer) report(validated bool) {
	if t.config.Progress == nil {
		return
	}
	p := t.progress
	p.Step, p.Epoch, p.Validated = t.step, t.epoch, validated
	t.config.Progress(p)
}

// checkRate returns an error if the steps were so great that the parameters are.
func (t *trainer) checkRate() error {
	if err := checkParameters(t.model.tensors()); err != nil {
		return fmt.Errorf("the learning rate %v is too great: %w", t.config.LearningRate, err)
	}
	return nil
}

// train makes one step.
func (t *trainer) train() error {
	r, err := t.backward()
	if err != nil {
		return cmp.Or(t.checkRate(), err) // of parameters that are no numbers all else follows
	}
	rate := contrastive.WarmupCosine(t.config.LearningRate, t.step, t.config.WarmupSteps, t.progress.Steps)
	p := &t.progress
	p.Loss, p.Accuracy, p.LearningRate = r.Loss, r.Accuracy, rate
	if tau, ok := same(t.loss.temperatures); ok {
		p.Temperature = float64(tau)
	}
	if err := t.optimizer.Step(rate); err != nil {
		return err
	}
	t.step++
	return nil
}

// backward evaluates the loss of the next batch, and adds its gradients to those of the
// parameters.
func (t *trainer) backward() (contrastive.Result, error) {
	t.batch = t.sampler.next(t.batch[:0])
	t.drawHard()
	b, g := t.forward()
	if t.temperature != nil {
		setAll(t.loss.temperatures, t.temperature.Value())
	}
	if t.bias != nil {
		setAll(t.loss.biases, t.bias.Value())
	}
	r, err := t.loss.loss.Eval(b, g)
	if err != nil {
		return r, err
	}
	t.query.layers.Backward(t.dQuery, false)
	if t.config.Sides == Both {
		t.other.layers.Backward(t.dRest, false)
	}
	if t.temperature != nil {
		t.temperature.Backward(r)
	}
	if t.bias != nil {
		t.bias.AddGrad(r.BiasGrad)
	}
	return r, nil
}

// drawHard draws the hard negatives of the batch.
func (t *trainer) drawHard() {
	t.hard, t.hardCounts = t.hard[:0], t.hardCounts[:0]
	if t.data.Hard == nil {
		return
	}
	t.source.Seed(t.config.Seed, seed2(streamHard, t.step))
	for _, p := range t.batch {
		first := len(t.hard)
		t.hard = append(t.hard, t.data.Hard[p.query]...)
		drawn := t.hard[first:]
		if n := t.config.HardNegatives; n > 0 && n < len(drawn) {
			for i := range n {
				j := i + t.random.IntN(len(drawn)-i)
				drawn[i], drawn[j] = drawn[j], drawn[i]
			}
			t.hard = t.hard[:first+n]
		}
		t.hardCounts = append(t.hardCounts, len(t.hard)-first)
	}
}

// forward maps the batch, and returns it with where its gradients go: dQuery and dRest,
// which are one if the map is shared.
func (t *trainer) forward() (contrastive.Batch, contrastive.Gradients) {
	n, all, dim := len(t.batch), len(t.batch)+len(t.hard), t.model.dim
	shared := t.config.Sides == Shared
	rows := n
	if shared {
		rows += all
	}
	t.query.resize(rows, dim)
	for i, p := range t.batch {
		t.queries.store(t.query.input.Row(i), p.query)
	}
	if !shared {
		t.other.resize(all, dim)
	}
	row := func(i int) []float32 {
		if shared {
			return t.query.input.Row(n + i)
		}
		return t.other.input.Row(i)
	}
	for i, p := range t.batch {
		t.documents.store(row(i), p.document)
	}
	for i, j := range t.hard {
		t.documents.store(row(n+i), j)
	}
	query := t.query.forward(true)
	t.dQuery = reshape(t.dQuery, rows, dim)
	var rest, dQuery, dRest contrastive.Matrix
	switch t.config.Sides {
	case Queries:
		rest, dQuery = t.other.input, t.dQuery
	case Both:
		t.dRest = reshape(t.dRest, all, dim)
		rest, dQuery, dRest = t.other.forward(true), t.dQuery, t.dRest
	case Shared:
		query, rest = query.Slice(0, n), query.Slice(n, n+all)
		dQuery, dRest = t.dQuery.Slice(0, n), t.dQuery.Slice(n, n+all)
	}
	b := contrastive.Batch{Query: query, Key: rest.Slice(0, n)}
	g := contrastive.Gradients{Query: dQuery}
	if dRest.Rows > 0 {
		g.Key = dRest.Slice(0, n)
	}
	if len(t.hard) > 0 {
		b.Hard, b.HardCounts = rest.Slice(n, all), t.hardCounts
		if dRest.Rows > 0 {
			g.Hard = dRest.Slice(n, all)
		}
	}
	if t.data.Weights != nil {
		t.weights = t.weights[:0]
		for _, p := range t.batch {
			t.weights = append(t.weights, t.data.Weights[p.query])
		}
		b.Weights = t.weights
	}
	return b, g
}

// reshape returns a matrix of arbitrary elements, in the memory of m if that is enough.
func reshape(m contrastive.Matrix, rows, cols int) contrastive.Matrix {
	if cap(m.Data) < rows*cols {
		m.Data = make([]float32, rows*cols)
	}
	return matrix(m.Data[:rows*cols], cols)
}

// A validation ranks documents for queries that are held out.
type validation struct {
	queries, documents contrastive.Matrix // raw
	relevant           retrieval.Relevance
	workers            int

	mappedQueries, mappedDocuments contrastive.Matrix
}

func newValidation(d *Data, answers [][]int, held []int, c Config) *validation {
	v := &validation{workers: c.Workers}
	held = choose(held, c.ValidationQueries, rand.New(rand.NewPCG(c.Seed, seed2(streamValidationQueries, 0))))
	v.queries = gather(d.Queries, held)
	documents := d.validationDocuments(held, answers, c)
	place := map[int]int{} // of documents that are not all there
	if documents == nil {
		v.documents = d.Documents
	} else {
		v.documents = gather(d.Documents, documents)
		for n, j := range documents {
			place[j] = n
		}
	}
	for _, i := range held {
		var keys []int
		var grades []float32
		for n, j := range d.Relevant.Keys[i] {
			if d.grade(i, n) == 0 {
				continue
			}
			if documents != nil {
				j = place[j]
			}
			keys, grades = append(keys, j), append(grades, d.grade(i, n))
		}
		v.relevant.Keys, v.relevant.Grades = append(v.relevant.Keys, keys), append(v.relevant.Grades, grades)
	}
	v.mappedQueries = contrastive.NewMatrix(v.queries.Rows, v.queries.Cols)
	v.mappedDocuments = v.documents
	if c.Sides != Queries {
		v.mappedDocuments = contrastive.NewMatrix(v.documents.Rows, v.documents.Cols)
	}
	return v
}

// validationDocuments returns the documents that queries are ranked among, in order, or
// nil for all.
func (d *Data) validationDocuments(held []int, answers [][]int, c Config) []int {
	if d.Documents.Rows <= c.ValidationDocuments {
		return nil
	}
	must := make([]bool, d.Documents.Rows)
	for _, i := range held {
		for _, j := range answers[i] {
			must[j] = true
		}
		if d.Hard != nil {
			for _, j := range d.Hard[i] {
				must[j] = true
			}
		}
	}
	var others []int
	for j, m := range must {
		if !m {
			others = append(others, j)
		}
	}
	more := max(0, c.ValidationDocuments-(d.Documents.Rows-len(others)))
	for _, j := range choose(others, more, rand.New(rand.NewPCG(c.Seed, seed2(streamValidationDocuments, 0)))) {
		must[j] = true
	}
	documents := []int{}
	for j, m := range must {
		if m {
			documents = append(documents, j)
		}
	}
	return documents
}

func gather(m contrastive.Matrix, rows []int) contrastive.Matrix {
	g := contrastive.NewMatrix(len(rows), m.Cols)
	for n, i := range rows {
		copy(g.Row(n), m.Row(i))
	}
	return g
}

// ndcg returns the NDCG at 10.
func (v *validation) ndcg(a *Adapter) (float64, error) {
	if err := a.Query.applyMatrix(v.mappedQueries, v.queries, v.workers); err != nil {
		return 0, err
	}
	if a.Sides != Queries {
		if err := a.Document.applyMatrix(v.mappedDocuments, v.documents, v.workers); err != nil {
			return 0, err
		}
	}
	r, err := retrieval.Rank(v.mappedQueries, v.mappedDocuments, v.relevant, retrieval.Options{Workers: v.workers}, 10)
	if err != nil {
		return 0, err
	}
	return r.NDCG[0], nil
}
