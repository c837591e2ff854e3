package contrastive

import (
	"context"
	"fmt"
	"reflect"
)

// In returns s as a [Loss], each Eval of which is one of s in ctx: for a
// [GradientCache], and whatever else takes a Loss.
//
// All ranks evaluate it at the same time. A rank that cannot come to that, as when an
// encoder fails before a [GradientCache] has reached the loss, must end its ctx, or the
// one that the ranks share: the others wait for it.
func (s Sharded) In(ctx context.Context) Loss { return shardedLoss{s, ctx} }

type shardedLoss struct {
	sharded Sharded
	ctx     context.Context
}

func (l shardedLoss) Eval(b Batch, g Gradients) (Result, error) { return l.sharded.Eval(l.ctx, b, g) }

// dereference returns the loss that loss points to, or loss if it is no pointer.
func dereference(loss Loss) Loss {
	if v := reflect.ValueOf(loss); v.Kind() == reflect.Pointer && !v.IsNil() {
		if pointed, ok := v.Elem().Interface().(Loss); ok {
			return pointed
		}
	}
	return loss
}

// describeLoss says what a loss is that is not supported.
func describeLoss(loss Loss) string {
	if v := reflect.ValueOf(loss); v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Sprintf("a nil %T", loss)
	}
	if loss == nil {
		return "nil"
	}
	return fmt.Sprintf("%T", loss)
}
