package durable

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
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
