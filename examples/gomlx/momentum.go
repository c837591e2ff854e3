package main

import (
	"fmt"
	"strings"

	"github.com/contrastive-go/contrastive"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
)

// MomentumUpdate moves the variables of a momentum encoder towards those of the
// online encoder: target = m·target + (1−m)·online. The scopes, such as "/online"
// and "/target", hold variables of the same names and shapes.
func MomentumUpdate(store *model.Store, target, online string, m float32) error {
	var from, to []*model.Variable
	for v := range store.IterVariables() {
		name, found := strings.CutPrefix(v.Path(), online+"/")
		if !found {
			continue
		}
		twin := store.GetVariable(target + "/" + name)
		if twin == nil {
			return fmt.Errorf("MomentumUpdate: %s has no %s: %w", target, name, contrastive.ErrShape)
		}
		from, to = append(from, v), append(to, twin)
	}
	return withData(from, nil, func(online [][]float32) error {
		return withData(to, nil, func(target [][]float32) error {
			return contrastive.MomentumUpdates(target, online, m)
		})
	})
}

// withData calls f with the values of variables, which it may change.
func withData(vars []*model.Variable, data [][]float32, f func([][]float32) error) error {
	if len(vars) == 0 {
		return f(data)
	}
	value, err := vars[0].Value()
	if err != nil {
		return err
	}
	var failed error
	err = tensors.MutableFlatData(value, func(flat []float32) {
		failed = withData(vars[1:], append(data, flat), f)
	})
	if err != nil {
		return err
	}
	return failed
}
