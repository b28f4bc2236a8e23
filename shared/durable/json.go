package durable

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
)

// DecodeJSON reads a file of state strictly: one value, no field that is
// unknown, nothing behind it. What a newer version has written, or a person has
// mistyped, is not half understood.
func DecodeJSON(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something behind the end")
	}
	return nil
}

// Whole gives numbers without a fraction back as the integers that they were
// before they were written.
func Whole(v any) any {
	return leaves(v, func(v any) any {
		if f, ok := v.(float64); ok && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return int64(f)
		}
		return v
	})
}

// Numbers gives those that were read as text as numbers: integers where they are
// written as such.
func Numbers(v any) any {
	return leaves(v, func(v any) any {
		n, ok := v.(json.Number)
		if !ok {
			return v
		}
		if i, err := n.Int64(); err == nil {
			return i
		}
		if f, err := n.Float64(); err == nil {
			return f
		}
		return v
	})
}

// leaves replaces, in place, what is neither a dict nor a list.
func leaves(v any, f func(any) any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = leaves(x, f)
		}
		return v
	case []any:
		for i, x := range v {
			v[i] = leaves(x, f)
		}
		return v
	}
	return f(v)
}
