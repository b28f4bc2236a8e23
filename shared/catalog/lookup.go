package catalog

import (
	"strings"

	"fabric.center/cfc/shared/wire"
)

// names maps every name under which an operation can be called to its row,
// apart for the users realm and for management realms.
type names struct{ users, management map[string]*Op }

func buildIndex() names {
	n := names{users: map[string]*Op{}, management: map[string]*Op{}}
	for _, o := range ops {
		table := n.management
		if o.Realm == Users {
			table = n.users
		}
		for _, uri := range o.URIs() {
			if _, dup := table[uri]; dup {
				panic("catalog: two rows answer to " + uri)
			}
			table[uri] = o
		}
	}
	return n
}

// URIs are all names of the operation: its own, its aliases and each under
// Crossbar.io's prefix, and those that it has there alone.
func (o *Op) URIs() []string {
	var uris []string
	for _, name := range append([]string{o.Name}, o.Aliases...) {
		if o.Realm == Remote {
			uris = append(uris, wire.RemotePrefix+o.Area+"."+name, wire.AliasRemote+o.Area+"."+name)
			continue
		}
		uris = append(uris, wire.Prefix+name, wire.AliasRealm+name)
	}
	for _, key := range o.Keys {
		uris = append(uris, wire.AliasRemote+key)
	}
	return uris
}

// Index finds rows by URI. It is made once, after all rows are declared.
type Index struct{ names }

// NewIndex reads the table.
func NewIndex() Index { return Index{buildIndex()} }

// Users finds a row of the users realm.
func (x Index) Users(uri string) (*Op, bool) { o, ok := x.users[uri]; return o, ok }

// Management finds a row that is called in a management realm.
func (x Index) Management(uri string) (*Op, bool) { o, ok := x.management[uri]; return o, ok }

// RemoteKey is "area.op" of a URI below the remote prefixes, whether or not
// there is a row for it.
func RemoteKey(uri string) (string, bool) {
	key, ok := strings.CutPrefix(uri, wire.RemotePrefix)
	if !ok {
		key, ok = strings.CutPrefix(uri, wire.AliasRemote)
	}
	return key, ok && strings.Count(key, ".") >= 1 && !strings.HasPrefix(key, ".") && !strings.HasSuffix(key, ".")
}

// ByKey finds a remote row by "area.op", aliases included.
func (x Index) ByKey(key string) (*Op, bool) { return x.Management(wire.RemotePrefix + key) }
