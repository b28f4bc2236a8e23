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
// before they were written, and those that were read as text as numbers.
func Whole(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v)
		}
	case map[string]any:
		for k, x := range v {
			v[k] = Whole(x)
		}
	case []any:
		for i, x := range v {
			v[i] = Whole(x)
		}
	}
	return v
}
