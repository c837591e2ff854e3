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

func (l shardedLoss) inputs(b Batch) inputs { return inputsOf(l.sharded.Loss, b) }

// nameOf returns the name of a loss of this package, or of what one points to.
func nameOf(loss Loss) string {
	t := reflect.TypeOf(loss)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}

// isOwn reports whether loss is, or points to, one of this package: not to a type that
// embeds one, whose Eval may be another.
func isOwn(loss Loss) bool {
	if loss == nil {
		return false
	}
	t := reflect.TypeOf(loss)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return !isNilPointer(loss) && t.PkgPath() == reflect.TypeFor[Batch]().PkgPath()
}

// isNilPointer reports whether loss is a pointer that points to none.
func isNilPointer(loss Loss) bool {
	v := reflect.ValueOf(loss)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

// describeLoss says what a loss is that is not supported.
func describeLoss(loss Loss) string {
	if isNilPointer(loss) {
		return fmt.Sprintf("a nil %T", loss)
	}
	if loss == nil {
		return "nil"
	}
	return fmt.Sprintf("%T", loss)
}
