package adapter

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/contrastive-go/contrastive"
)

// A trainedLoss is a copy of a loss whose temperatures and biases can be set.
type trainedLoss struct {
	loss                 contrastive.Loss
	temperatures, biases []*float32
	description          string
}

// newTrainedLoss copies a loss, and the losses that it consists of. Those that leave
// Workers to GOMAXPROCS are given workers.
func newTrainedLoss(l contrastive.Loss, workers int) *trainedLoss {
	t := new(trainedLoss)
	t.loss = t.copy(l, workers)
	t.description = describe(reflect.ValueOf(t.loss))
	return t
}

func (t *trainedLoss) copy(l contrastive.Loss, workers int) contrastive.Loss {
	if v := reflect.ValueOf(l); v.Kind() == reflect.Pointer && !v.IsNil() {
		if value, ok := v.Elem().Interface().(contrastive.Loss); ok {
			l = value
		}
	}
	temperature := func(value *float32, ifZero float32, o *contrastive.Options) {
		if *value == 0 {
			*value = ifZero
		}
		if o.Workers == 0 {
			o.Workers = workers
		}
		t.temperatures = append(t.temperatures, value)
	}
	switch l := l.(type) {
	case contrastive.CLIP:
		temperature(&l.Temperature, 0.07, &l.Options)
		return &l
	case contrastive.InfoNCE:
		ifZero := float32(0.07)
		if l.Similarity == contrastive.Dot {
			ifZero = 1
		}
		temperature(&l.Temperature, ifZero, &l.Options)
		return &l
	case contrastive.SigLIP:
		temperature(&l.Temperature, 0.1, &l.Options)
		t.biases = append(t.biases, &l.Bias)
		return &l
	case contrastive.NTXent:
		temperature(&l.Temperature, 0.5, &l.Options)
		return &l
	case contrastive.DCL:
		temperature(&l.Temperature, 0.1, &l.Options)
		return &l
	case contrastive.HardNegative:
		temperature(&l.Temperature, 0.5, &l.Options)
		return &l
	case contrastive.Matryoshka:
		l.Loss = t.copy(l.Loss, workers)
		return &l
	case contrastive.Sum:
		losses := make([]contrastive.Loss, len(l.Losses))
		for i := range losses {
			losses[i] = t.copy(l.Losses[i], workers)
		}
		l.Losses = losses
		return &l
	}
	return l
}

// same returns the value that all of values have, if there is one.
func same(values []*float32) (float32, bool) {
	if len(values) == 0 {
		return 0, false
	}
	for _, v := range values {
		if *v != *values[0] {
			return 0, false
		}
	}
	return *values[0], true
}

func setAll(values []*float32, value float32) {
	for _, v := range values {
		*v = value
	}
}

// describe writes a loss as Go does, without fields that are zero or change no bit of a
// result. Of types of other packages it writes the name alone.
func describe(v reflect.Value) string {
	switch kind, t := v.Kind(), v.Type(); {
	case kind == reflect.Pointer || kind == reflect.Interface:
		if !v.IsNil() {
			return describe(v.Elem())
		}
	case kind == reflect.Slice:
		values := make([]string, v.Len())
		for i := range values {
			values[i] = describe(v.Index(i))
		}
		return "[" + strings.Join(values, ", ") + "]"
	case kind == reflect.Struct && t.PkgPath() == reflect.TypeFor[contrastive.Options]().PkgPath():
		return t.String() + "{" + strings.Join(describeFields(nil, v), ", ") + "}"
	case v.CanInterface() && kind != reflect.Struct:
		return fmt.Sprint(v)
	}
	return v.Type().String()
}

func describeFields(fields []string, v reflect.Value) []string {
	for i := range v.NumField() {
		switch f := v.Type().Field(i); {
		case f.Anonymous:
			fields = describeFields(fields, v.Field(i))
		case !v.Field(i).IsZero() && f.Name != "Workers" && f.Name != "KeepBytes":
			fields = append(fields, f.Name+": "+describe(v.Field(i)))
		}
	}
	return fields
}
