package nodelink

import (
	"fmt"
	"reflect"

	"github.com/gammazero/nexus/v3/transport/serialize"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/ugorji/go/codec"
)

// nodeCBOR is CBOR as a stock node speaks it: in what it tells of its workers
// keys of dicts are numbers too, of which nexus' decoder makes nonsense. They
// become texts here, as they are in JSON.
type nodeCBOR struct {
	serialize.CBORSerializer
	handle *codec.CborHandle
}

func newNodeCBOR() *nodeCBOR {
	h := &codec.CborHandle{}
	h.MapType = reflect.TypeFor[map[any]any]()
	return &nodeCBOR{handle: h}
}

// Deserialize implements serialize.Serializer.
func (c *nodeCBOR) Deserialize(b []byte) (wamp.Message, error) {
	var v []any
	if err := codec.NewDecoderBytes(b, c.handle).Decode(&v); err != nil {
		return nil, err
	}
	odd := false
	texts := textKeys(v, &odd)
	if !odd {
		return c.CBORSerializer.Deserialize(b)
	}
	b, err := c.SerializeDataItem(texts)
	if err != nil {
		return nil, err
	}
	return c.CBORSerializer.Deserialize(b)
}

// textKeys makes every key of a dict a text, and says whether one was not.
func textKeys(v any, odd *bool) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = textKeys(v[i], odd)
		}
	case map[any]any:
		d := make(map[string]any, len(v))
		for k, x := range v {
			key, ok := k.(string)
			if !ok {
				*odd = true
				key = fmt.Sprint(k)
			}
			d[key] = textKeys(x, odd)
		}
		return d
	}
	return v
}
