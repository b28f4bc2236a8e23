package catalog

import (
	"testing"
)

func TestIndexFindsEveryName(t *testing.T) {
	x := NewIndex()
	for _, o := range All() {
		for _, uri := range o.URIs() {
			find := x.Management
			if o.Realm == Users {
				find = x.Users
			}
			if got, ok := find(uri); !ok || got != o {
				t.Errorf("%s does not lead to its row", uri)
			}
		}
	}
}
