// Chromem trains an adapter on vectors that a chromem-go database holds, in memory, and
// searches the same index before and after: the vectors of documents stay as they are,
// and only queries are mapped.
//
//	go run -C examples/chromem .
//	go run -C examples/chromem . -q "remove leading and trailing white space"
//
// The documents are the exported functions of the Go standard library, and a query is the
// first sentence of a comment without the function's name. The embeddings are hashed words
// and word pieces, which nobody has trained. Packages are dealt to training and test as a
// whole.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/signal"
	"strconv"
	"time"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/adapter"
	"github.com/contrastive-go/contrastive/retrieval"
	"github.com/philippgille/chromem-go"
)

func main() {
	question := flag.String("q", "remove leading and trailing white space", "what to search for")
	seed := flag.Uint64("seed", 1, "deals packages, and trains")
	rate := flag.Float64("rate", 3e-3, "greatest learning rate")
	smoke := flag.Bool("smoke", false, "a few packages and one epoch")
	flag.Parse()
	log.SetFlags(0)
	if flag.NArg() > 0 || !(*rate > 0) {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *question, *seed, *rate, *smoke); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, question string, seed uint64, rate float64, smoke bool) error {
	functions, err := standardLibrary(smoke)
	if err != nil {
		return err
	}
	index, err := chromem.NewDB().CreateCollection("functions", nil, func(_ context.Context, text string) ([]float32, error) {
		return embed(text), nil
	})
	if err != nil {
		return err
	}
	documents := make([]chromem.Document, len(functions))
	for i, f := range functions {
		documents[i] = chromem.Document{ID: strconv.Itoa(i), Content: f.text}
	}
	if err := index.AddDocuments(ctx, documents, 2); err != nil {
		return err
	}

	data, test, err := split(ctx, index, functions, seed)
	if err != nil {
		return err
	}
	fmt.Printf("%d functions in the index, %d pairs to train with, %d queries to test with\n\n", len(functions), len(data.Relevant.Keys), test.queries.Rows)
	fmt.Println("                        nDCG@10  recall@1  recall@10    MRR   seconds")
	if err := test.report("as they are", nil, 0); err != nil {
		return err
	}
	var best *adapter.Adapter
	for _, variant := range []struct {
		name  string
		miner *retrieval.Miner
	}{
		{"adapter", nil},
		{"… hard negatives", &retrieval.Miner{Count: 4, Depth: 4}},
		{"… of them filtered", &retrieval.Miner{Count: 4, Filter: contrastive.RelativeMargin, FilterMargin: -0.05}},
	} {
		start := time.Now()
		data.Hard = nil
		if m := variant.miner; m != nil {
			if data.Hard, err = m.Mine(data.Queries, data.Documents, data.Relevant.Keys); err != nil {
				return err
			}
		}
		config := adapter.Config{Seed: seed, LearningRate: rate}
		if smoke {
			config.Epochs = 1
		}
		a, err := adapter.Fit(ctx, data, config)
		if err != nil {
			return err
		}
		if best == nil {
			best = a
		}
		if err := test.report(variant.name, a, time.Since(start)); err != nil {
			return err
		}
	}
	return answer(ctx, index, functions, best, question)
}

// A heldOut is queries that nothing has been trained on.
type heldOut struct {
	queries, documents contrastive.Matrix
	relevant           retrieval.Relevance
}

// split deals queries by package, four fifths to training. The index holds all functions.
func split(ctx context.Context, index *chromem.Collection, functions []function, seed uint64) (adapter.Data, *heldOut, error) {
	held := make([][]float32, len(functions))
	for i := range held {
		document, err := index.GetByID(ctx, strconv.Itoa(i))
		if err != nil {
			return adapter.Data{}, nil, err
		}
		held[i] = document.Embedding
	}
	documents, err := contrastive.FromRows(held)
	if err != nil {
		return adapter.Data{}, nil, err
	}
	random := rand.New(rand.NewPCG(seed, 0))
	tested := map[string]bool{}
	var queries [2][][]float32
	var relevant [2][][]int
	for i, f := range functions {
		if _, dealt := tested[f.pkg]; !dealt {
			tested[f.pkg] = random.IntN(5) == 0
		}
		part := 0
		if tested[f.pkg] {
			part = 1
		}
		queries[part], relevant[part] = append(queries[part], embed(f.summary)), append(relevant[part], []int{i})
	}
	var m [2]contrastive.Matrix
	for part := range m {
		if m[part], err = contrastive.FromRows(queries[part]); err != nil {
			return adapter.Data{}, nil, err
		}
	}
	data := adapter.Data{Queries: m[0], Documents: documents, Relevant: retrieval.Relevance{Keys: relevant[0]}}
	return data, &heldOut{m[1], documents, retrieval.Relevance{Keys: relevant[1]}}, nil
}

// report prints how well the queries find their functions, mapped by a if there is one.
func (h *heldOut) report(name string, a *adapter.Adapter, took time.Duration) error {
	queries := h.queries
	if a != nil {
		queries = contrastive.NewMatrix(h.queries.Rows, h.queries.Cols)
		if err := a.Query.ApplyMatrix(queries, h.queries); err != nil {
			return err
		}
	}
	r, err := retrieval.Rank(queries, h.documents, h.relevant, retrieval.Options{}, 1, 10, 1000)
	if err != nil {
		return err
	}
	fmt.Printf("%-22s  %7.3f  %8.3f  %9.3f  %5.3f  %8.1f\n", name, r.NDCG[1], r.Recall[0], r.Recall[1], r.MRR[2], took.Seconds())
	return nil
}

// answer searches the index for what a question asks, before and after.
func answer(ctx context.Context, index *chromem.Collection, functions []function, a *adapter.Adapter, question string) error {
	query := embed(question)
	for _, how := range []string{"as it is", "with the adapter"} {
		fmt.Printf("\n%q, %s:\n", question, how)
		if how == "with the adapter" {
			if err := a.Query.Apply(query, query); err != nil {
				return err
			}
		}
		results, err := index.QueryEmbedding(ctx, query, min(5, index.Count()), nil, nil)
		if err != nil {
			return err
		}
		for _, r := range results {
			i, err := strconv.Atoi(r.ID)
			if err != nil {
				return err
			}
			fmt.Printf("  %.3f  %-28s %s\n", r.Similarity, functions[i].name, functions[i].summary)
		}
	}
	return nil
}
