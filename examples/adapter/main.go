// Adapter fits a map of queries to pairs of vectors that some embedding model has made,
// one pair a line, {"query": [0.1, …], "document": [0.2, …]}, and saves it:
//
//	go run -C examples ./adapter < pairs.jsonl
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/adapter"
)

func main() {
	if err := fit(os.Stdin, "adapter.safetensors", os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func fit(pairs io.Reader, path string, out io.Writer) error {
	queries, documents, err := read(pairs)
	if err != nil {
		return err
	}
	n, end := queries.Rows*4/5, queries.Rows // the last fifth is no part of the training
	a, err := adapter.Fit(context.Background(),
		adapter.Data{Queries: queries.Slice(0, n), Documents: documents.Slice(0, n)},
		adapter.Config{LearningRate: 0.01, BatchSize: 64, Progress: func(p adapter.Progress) {
			if p.Validated {
				fmt.Fprintf(out, "epoch %2d  loss %.3f  τ %.3f  nDCG@10 %.3f\n", p.Epoch, p.Loss, p.Temperature, p.NDCG)
			}
		}})
	if err != nil {
		return err
	}
	// Where queries are answered, the file is all that is needed. The index stays as it is.
	saveErr := a.Save(path)
	served, err := adapter.Load(path)
	if err := errors.Join(saveErr, err); err != nil {
		return err
	}
	mapped := contrastive.NewMatrix(end-n, served.Dim())
	if err := served.Query.ApplyMatrix(mapped, queries.Slice(n, end)); err != nil {
		return err
	}
	for _, c := range []struct {
		name    string
		queries contrastive.Matrix
	}{{"as they are", queries.Slice(n, end)}, {"mapped", mapped}} {
		recall, err := contrastive.RecallAt(c.queries, documents.Slice(n, end), 1, 10)
		mrr, err2 := contrastive.MRR(c.queries, documents.Slice(n, end))
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		fmt.Fprintf(out, "%d held-out queries %-11s  recall@1 %.3f  recall@10 %.3f  MRR %.3f\n", end-n, c.name, recall[0], recall[1], mrr)
	}
	return nil
}

func read(r io.Reader) (queries, documents contrastive.Matrix, err error) {
	var q, d [][]float32
	for lines := json.NewDecoder(r); ; {
		var pair struct{ Query, Document []float32 }
		if err := lines.Decode(&pair); err == io.EOF {
			break
		} else if err != nil {
			return queries, documents, fmt.Errorf("pair %d: %w", len(q)+1, err)
		}
		q, d = append(q, pair.Query), append(d, pair.Document)
	}
	queries, err1 := contrastive.FromRows(q)
	documents, err2 := contrastive.FromRows(d)
	return queries, documents, errors.Join(err1, err2)
}
