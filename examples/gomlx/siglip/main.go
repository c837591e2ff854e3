// Siglip trains two encoders of GoMLX with the sigmoid loss (Zhai et al., 2023), whose
// temperature and bias are learned beside them.
package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/gomlx"
	"github.com/contrastive-go/contrastive/nn"
	"github.com/gomlx/compute/gobackend"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/layers"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/ml/train/optimizer"
)

const inputs, hidden, embedding, batch = 64, 64, 32, 128

func main() {
	if _, err := train(300, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func train(steps int, out io.Writer) (result contrastive.Result, err error) {
	backend, err := gobackend.New("ops_sequential")
	if err != nil {
		return result, err
	}
	trainer := gomlx.NewTrainer(backend, model.NewStore(), optimizer.Adam().LearningRate(3e-3).Done())
	images, err1 := trainer.NewEncoder("/images", encoder)
	texts, err2 := trainer.NewEncoder("/texts", encoder)
	tau, bias := nn.NewTemperature(0.1), nn.NewScalar("bias", -10)
	scalars := &nn.AdamW{Params: nn.Params(tau, bias)}
	dq, dk := contrastive.NewMatrix(batch, embedding), contrastive.NewMatrix(batch, embedding)
	for step := range steps {
		x, y := pairs(step)
		q, qErr := images.Encode(x)
		k, kErr := texts.Encode(y)
		if err := errors.Join(err1, err2, qErr, kErr); err != nil {
			return result, err
		}
		result, err = contrastive.SigLIP{Temperature: tau.Value(), Bias: bias.Value()}.Eval(
			contrastive.Batch{Query: q.Embeddings, Key: k.Embeddings}, contrastive.Gradients{Query: dq, Key: dk})
		if err != nil {
			return result, err
		}
		tau.Backward(result)
		bias.AddGrad(result.BiasGrad)
		if err := errors.Join(q.Backward(dq), k.Backward(dk), trainer.Step(), scalars.Step(1e-2)); err != nil {
			return result, err
		}
		if step%50 == 0 || step == steps-1 {
			fmt.Fprintf(out, "step %3d  loss %.3f  accuracy %.3f  τ %.3f  bias %.2f\n", step, result.Loss, result.Accuracy, tau.Value(), bias.Value())
		}
	}
	return result, nil
}

func encoder(scope *model.Scope, inputs []*graph.Node) *graph.Node {
	return layers.DenseWithBias(scope.At("embedding"), activation.Relu(layers.DenseWithBias(scope.At("hidden"), inputs[0], hidden)), embedding)
}

// pairs returns two noisy views of the same points.
func pairs(step int) (x, y *tensors.Tensor) {
	rng, a, b := rand.New(rand.NewPCG(uint64(step), 1)), make([]float32, batch*inputs), make([]float32, batch*inputs)
	for i := range a {
		v := rng.NormFloat64()
		a[i], b[i] = float32(v+rng.NormFloat64()/2), float32(v+rng.NormFloat64()/2)
	}
	return tensors.FromFlatDataAndDimensions(a, batch, inputs), tensors.FromFlatDataAndDimensions(b, batch, inputs)
}
