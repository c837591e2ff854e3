package gomlx

import (
	"fmt"
	"slices"
	"strings"

	"github.com/contrastive-go/contrastive"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
)

// MomentumUpdate moves the variables of a momentum encoder towards those of the online
// encoder, in place: target = m·target + (1−m)·online. The scopes, such as "/online" and
// "/target", hold float32 variables of the same names and shapes, which exist once the
// encoders have encoded something. A momentum of 0 copies.
//
// It returns an error that wraps [contrastive.ErrShape] if online has no variables, target
// lacks one, or they share one, and those of contrastive.MomentumUpdates.
func MomentumUpdate(store *model.Store, target, online string, m float32) error {
	return wrap("MomentumUpdate", momentumUpdate(store, target, online, m))
}

func momentumUpdate(store *model.Store, target, online string, m float32) error {
	var from, to []*model.Variable
	for v := range store.IterVariables() {
		name, found := strings.CutPrefix(v.Path(), online+"/")
		if !found {
			continue
		}
		twin := store.GetVariable(target + "/" + name)
		if twin == nil {
			return fmt.Errorf("%s has no %s: %w", target, name, contrastive.ErrShape)
		}
		from, to = append(from, v), append(to, twin)
	}
	if len(from) == 0 {
		return fmt.Errorf("%s has no variables: %w", online, contrastive.ErrShape)
	}
	for _, v := range to {
		if slices.Contains(from, v) {
			return fmt.Errorf("%s is a variable of both %s and %s: %w", v.Path(), target, online, contrastive.ErrShape)
		}
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
