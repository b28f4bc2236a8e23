package catalog

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"strings"
	"testing"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// everyType has one argument of each type that rows may use.
type everyType struct {
	OnWorker
	String   string         `wamp:"string,optional" doc:"s"`
	Bool     bool           `wamp:"bool,optional" doc:"b"`
	Int      int            `wamp:"int,optional" default:"7" doc:"i"`
	Int64    int64          `wamp:"int64,optional,keyword" doc:"i"`
	Float    float64        `wamp:"float,optional,keyword" default:"1.5" doc:"f"`
	Dict     map[string]any `wamp:"dict,optional,keyword" doc:"d"`
	Named    Dict           `wamp:"named,optional,keyword" doc:"d"`
	List     []any          `wamp:"list,optional,keyword" doc:"l"`
	Strings  []string       `wamp:"strings,optional,keyword" default:"[\"a\"]" doc:"l"`
	IDs      []ObjectID     `wamp:"ids,optional,keyword" doc:"l"`
	Any      any            `wamp:"any,optional,keyword" doc:"x"`
	Ptr      *int           `wamp:"ptr,optional,keyword" doc:"p"`
	Word     string         `wamp:"word,optional,keyword" default:"long" doc:"w"`
	Realm    RealmName      `wamp:"realm,optional,keyword" doc:"r"`
	User     UserName       `wamp:"user,optional,keyword" doc:"u"`
	Node     NodeID         `wamp:"node,optional,keyword" doc:"n"`
	NodeRef  NodeRef        `wamp:"node_ref,optional,keyword" doc:"n"`
	UserNode UserNodeRef    `wamp:"user_node,optional,keyword" doc:"n"`
	Pubkey   Pubkey         `wamp:"pubkey,optional,keyword" doc:"k"`
	Role     RoleName       `wamp:"role,optional,keyword" doc:"r"`
	Purpose  PurposeName    `wamp:"purpose,optional,keyword" doc:"p"`
	Status   NodeStatus     `wamp:"status,optional,keyword" doc:"s"`
}

// rowOf is a row of scope worker that takes In, apart from the table.
func rowOf[In any](t testing.TB) *Op {
	t.Helper()
	o := &Op{Realm: Remote, Area: "test", Name: "do", Scope: Worker, Access: Read, Doc: "Do.", in: reflect.TypeFor[In]()}
	if err := o.init(); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestDecodeGood(t *testing.T) {
	o := rowOf[everyType](t)
	seven := 7
	uuid, key := "7f1c3c9e-0d52-4c5e-9d7a-0b6f7a2f4f10", strings.Repeat("ab", 32)
	with := func(f func(*everyType)) everyType {
		e := everyType{OnWorker: OnWorker{"w1"}, Int: 7, Float: 1.5, Strings: []string{"a"}, Word: "long"}
		if f != nil {
			f(&e)
		}
		return e
	}
	tests := []struct {
		name   string
		args   wamp.List
		kwargs wamp.Dict
		want   everyType
	}{
		{"defaults", wamp.List{"w1"}, nil, with(nil)},
		{"by name", nil, wamp.Dict{"worker_id": "w1", "string": "x"}, with(func(e *everyType) { e.String = "x" })},
		{"by position", wamp.List{"w1", "x", true, 3}, nil, with(func(e *everyType) { e.String, e.Bool, e.Int = "x", true, 3 })},
		{"null is not given", wamp.List{"w1", nil, nil, nil}, wamp.Dict{"dict": nil, "list": nil, "any": nil, "ptr": nil, "realm": nil, "strings": nil, "float": nil}, with(nil)},
		{"empty string", wamp.List{"w1", ""}, wamp.Dict{"word": ""}, with(func(e *everyType) { e.Word = "" })},
		{"whole float", wamp.List{"w1"}, wamp.Dict{"int": 3.0, "int64": float32(4)}, with(func(e *everyType) { e.Int, e.Int64 = 3, 4 })},
		{"integers of all sizes", wamp.List{"w1"}, wamp.Dict{"int": int8(-3), "int64": uint16(9)}, with(func(e *everyType) { e.Int, e.Int64 = -3, 9 })},
		{"largest integer", wamp.List{"w1"}, wamp.Dict{"int64": uint64(math.MaxInt64)}, with(func(e *everyType) { e.Int64 = math.MaxInt64 })},
		{"integer as number", wamp.List{"w1"}, wamp.Dict{"float": uint8(2)}, with(func(e *everyType) { e.Float = 2 })},
		{"pointer", wamp.List{"w1"}, wamp.Dict{"ptr": int64(7)}, with(func(e *everyType) { e.Ptr = &seven })},
		{"dict", wamp.List{"w1"}, wamp.Dict{"dict": map[string]any{"a": map[any]any{"b": []any{1, []map[string]int{{"c": 2}}}}}, "named": wamp.Dict{}},
			with(func(e *everyType) {
				e.Dict = map[string]any{"a": wamp.Dict{"b": wamp.List{1, wamp.List{wamp.Dict{"c": 2}}}}}
				e.Named = Dict{}
			})},
		{"lists", wamp.List{"w1"}, wamp.Dict{"list": []any{1, nil, []byte("x")}, "strings": wamp.List{}, "ids": []string{"a", "b"}},
			with(func(e *everyType) {
				e.List, e.Strings, e.IDs = []any{1, nil, []byte("x")}, []string{}, []ObjectID{"a", "b"}
			})},
		{"any dict", wamp.List{"w1"}, wamp.Dict{"any": map[string]any{"a": []any{}}}, with(func(e *everyType) { e.Any = wamp.Dict{"a": wamp.List{}} })},
		{"any word", wamp.List{"w1"}, wamp.Dict{"any": "router"}, with(func(e *everyType) { e.Any = "router" })},
		{"forms", wamp.List{"w1"}, wamp.Dict{"realm": "com.example", "user": "a@b.co", "node": "n1", "node_ref": uuid, "user_node": "demo/n1", "pubkey": key, "role": "owner", "purpose": "ticket", "status": "offline"},
			with(func(e *everyType) {
				e.Realm, e.User, e.Node, e.NodeRef, e.UserNode = "com.example", "a@b.co", "n1", NodeRef(uuid), "demo/n1"
				e.Pubkey, e.Role, e.Purpose, e.Status = Pubkey(key), "owner", "ticket", "offline"
			})},
	}
	for _, tt := range tests {
		var got everyType
		if err := o.Decode(tt.args, tt.kwargs, &got); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", tt.name, err, got, tt.want)
		}
	}
}

func TestDecodeBad(t *testing.T) {
	o := rowOf[everyType](t)
	w := wamp.List{"w1"}
	tests := []struct {
		name               string
		args               wamp.List
		kwargs             wamp.Dict
		argument, expected string
	}{
		{"nothing", nil, nil, "worker_id", "the first a letter"},
		{"required is null", wamp.List{nil}, nil, "worker_id", "the first a letter"},
		{"twice", w, wamp.Dict{"worker_id": "w1"}, "worker_id", "once, by position or by name"},
		{"one too many", wamp.List{"w1", "x", true, 3, 4}, nil, "args[4]", "at most 4 arguments"},
		{"keyword only by position", wamp.List{"w1", "x", true, 3, wamp.Dict{}}, nil, "args[4]", "cfc.remote.test.do(node_id, worker_id, string=null"},
		{"unknown name", w, wamp.Dict{"zoo": 1, "foo": 1}, "foo", "only the arguments of cfc.remote.test.do"},
		{"bytes for a string", wamp.List{"w1", []byte("x")}, nil, "string", "a string"},
		{"number for a string", wamp.List{"w1", 5}, nil, "string", "a string"},
		{"word for a bool", w, wamp.Dict{"bool": "true"}, "bool", "true or false"},
		{"one for a bool", w, wamp.Dict{"bool": 1}, "bool", "true or false"},
		{"fraction", w, wamp.Dict{"int": 1.5}, "int", "an integer"},
		{"NaN", w, wamp.Dict{"int": math.NaN()}, "int", "an integer"},
		{"infinity", w, wamp.Dict{"int": math.Inf(1)}, "int", "an integer"},
		{"float too large", w, wamp.Dict{"int": float64(1 << 60)}, "int", "an integer"},
		{"integer too large", w, wamp.Dict{"int64": uint64(math.MaxUint64)}, "int64", "an integer"},
		{"uint too large", w, wamp.Dict{"int64": uint(math.MaxUint64)}, "int64", "an integer"},
		{"digits", w, wamp.Dict{"int": "3"}, "int", "an integer"},
		{"bool for an integer", w, wamp.Dict{"int": true}, "int", "an integer"},
		{"infinite number", w, wamp.Dict{"float": math.Inf(-1)}, "float", "a number"},
		{"NaN number", w, wamp.Dict{"float": math.NaN()}, "float", "a number"},
		{"word for a number", w, wamp.Dict{"float": "1"}, "float", "a number"},
		{"list for a dict", w, wamp.Dict{"dict": wamp.List{}}, "dict", "a dict"},
		{"word for a dict", w, wamp.Dict{"dict": "{}"}, "dict", "a dict"},
		{"key not a string", w, wamp.Dict{"dict": map[any]any{1: "a"}}, "dict", "a dict"},
		{"null key", w, wamp.Dict{"dict": map[any]any{nil: "a"}}, "dict", "a dict"},
		{"inner key not a string", w, wamp.Dict{"dict": wamp.Dict{"a": wamp.List{map[int]any{1: "a"}}}}, "dict", "a dict"},
		{"key of any", w, wamp.Dict{"any": map[int]any{1: "a"}}, "any", "any value"},
		{"dict for a list", w, wamp.Dict{"list": wamp.Dict{}}, "list", "a list"},
		{"bytes for a list", w, wamp.Dict{"list": []byte("ab")}, "list", "a list"},
		{"word for a list", w, wamp.Dict{"strings": "a"}, "strings", "a list, each item a string"},
		{"item", w, wamp.Dict{"strings": wamp.List{"a", 2}}, "strings[1]", "a string"},
		{"null item", w, wamp.Dict{"strings": wamp.List{nil}}, "strings[0]", "a string"},
		{"item out of form", w, wamp.Dict{"ids": wamp.List{"a", "1"}}, "ids[1]", "the first a letter"},
		{"pointer", w, wamp.Dict{"ptr": "x"}, "ptr", "an integer"},
		{"worker with a dot", wamp.List{"w.1"}, nil, "worker_id", "the first a letter"},
		{"worker of another script", wamp.List{"wörker"}, nil, "worker_id", "the first a letter"},
		{"worker with a digit first", wamp.List{"1w"}, nil, "worker_id", "the first a letter"},
		{"worker empty", wamp.List{""}, nil, "worker_id", "the first a letter"},
		{"realm", w, wamp.Dict{"realm": "wamp.x"}, "realm", "dot-separated"},
		{"realm of the users", w, wamp.Dict{"realm": "com.crossbario.fabric"}, "realm", "dot-separated"},
		{"user", w, wamp.Dict{"user": "Anna"}, "user", "e-mail"},
		{"node", w, wamp.Dict{"node": "N1"}, "node", "a-z"},
		{"node is an oid", w, wamp.Dict{"node": "7f1c3c9e-0d52-4c5e-9d7a-0b6f7a2f4f10"}, "node", "a-z"},
		{"node ref", w, wamp.Dict{"node_ref": "demo/n1"}, "node_ref", "an oid"},
		{"node of a user", w, wamp.Dict{"user_node": "n1"}, "user_node", "realm/node-id"},
		{"node of a user, two slashes", w, wamp.Dict{"user_node": "demo/n1/x"}, "user_node", "realm/node-id"},
		{"pubkey", w, wamp.Dict{"pubkey": strings.Repeat("AB", 32)}, "pubkey", "64 hex digits"},
		{"role", w, wamp.Dict{"role": "admin"}, "role", "viewer, operator or owner"},
		{"purpose", w, wamp.Dict{"purpose": "root"}, "purpose", "user, node or ticket"},
		{"status", w, wamp.Dict{"status": "away"}, "status", "online, offline or detached"},
	}
	for _, tt := range tests {
		err := o.Decode(tt.args, tt.kwargs, &everyType{})
		var e *cfcerr.Error
		if !errors.As(err, &e) || e.Kind != cfcerr.InvalidArgument || e.Details["argument"] != tt.argument ||
			!strings.Contains(fmt.Sprint(e.Details["expected"]), tt.expected) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestDecodeNullWhereNullIsAValue(t *testing.T) {
	type in struct {
		OnWorker
		ID     *ObjectID `wamp:"id" doc:"null makes one up"`
		Config any       `wamp:"config" doc:"anything"`
	}
	o := rowOf[in](t)
	var got in
	if err := o.Decode(wamp.List{"w1", nil, nil}, nil, &got); err != nil || got.ID != nil || got.Config != nil {
		t.Errorf("%+v, %v", got, err)
	}
	if err := o.Decode(wamp.List{"w1", nil}, nil, &got); err == nil {
		t.Error("a missing config was taken for null")
	}
	if err := o.Decode(wamp.List{"w1"}, wamp.Dict{"config": 1}, &got); err == nil {
		t.Error("a missing id was taken for null")
	}
}

func TestSignatureAndExpectation(t *testing.T) {
	o := rowOf[everyType](t)
	want := "cfc.remote.test.do(node_id, worker_id, string=null, bool=false, int=7, *, int64=null, float=1.5, dict={}, named={}, list=[], strings=[\"a\"], ids=[], any=null, ptr=null, word=long, "
	if got := o.Signature(); !strings.HasPrefix(got, want) {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	for _, a := range o.Args() {
		if a.Name == "ptr" && (!a.Nullable() || a.Expected() != "an integer, or null") || a.Name == "int" && a.Nullable() {
			t.Errorf("%s: nullable %v, expected %q", a.Name, a.Nullable(), a.Expected())
		}
	}
}

func TestCheckNeverKeepsTheResult(t *testing.T) {
	if err := RouterStartRealm.Check(wamp.List{"w1", nil, wamp.Dict{"name": "r"}}, nil); err != nil {
		t.Error(err)
	}
	if err := RouterStartRealm.Check(wamp.List{"w1", "a.b", wamp.Dict{}}, nil); cfcerr.KindOf(err) != cfcerr.InvalidArgument {
		t.Error(err)
	}
}

// Strangers choose the arguments. Whatever values a decoder can make of bytes,
// decoding neither panics nor changes its input, and its errors are of one kind.
func FuzzDecode(f *testing.F) {
	for _, seed := range [][]byte{nil, {0}, []byte("w1"), {5, 2, 'w', '1', 7, 3, 1, 2, 3}, {6, 200, 7, 7, 7, 9, 255, 10, 4}, {8, 3, 1, 1, 2, 0, 9}} {
		f.Add(seed, uint8(0))
		f.Add(seed, uint8(200))
	}
	rows := append(All(), rowOf[everyType](f))
	f.Fuzz(func(t *testing.T, data []byte, row uint8) {
		o := rows[int(row)%len(rows)]
		g := generator{data}
		var args wamp.List
		for range g.byte() % 6 {
			args = append(args, g.value(4))
		}
		kwargs := wamp.Dict{}
		for _, a := range o.Args() {
			if g.byte()%4 == 0 {
				kwargs[a.Name] = g.value(4)
			}
		}
		if g.byte()%16 == 0 {
			kwargs[g.string()] = g.value(2)
		}
		given := maps.Clone(kwargs)
		in := newOf(o.in)
		err := o.Decode(args, kwargs, in)
		var e *cfcerr.Error
		if err != nil && (!errors.As(err, &e) || e.Kind != cfcerr.InvalidArgument || e.Details["argument"] == nil || e.Details["expected"] == "") {
			t.Errorf("%s: %v", o.URI(), err)
		}
		if len(given) != len(kwargs) {
			t.Error("the call was changed")
		}
		if err == nil {
			checkForms(t, reflect.ValueOf(in).Elem())
		}
	})
}

// checkForms fails when a value that checks itself is out of form although it
// was decoded; the zero value of an argument that was not given is none.
func checkForms(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			checkForms(t, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			checkForms(t, v.Field(i))
		}
	case reflect.String:
		if c, ok := v.Interface().(Checker); ok && v.Len() > 0 && !c.Valid() {
			t.Errorf("%T %q is out of form", c, v)
		}
	}
}

// generator makes values of every Go type that a WAMP decoder may give.
type generator struct{ data []byte }

func (g *generator) byte() byte {
	if len(g.data) == 0 {
		return 0
	}
	b := g.data[0]
	g.data = g.data[1:]
	return b
}

func (g *generator) string() string {
	n := min(int(g.byte()), len(g.data))
	s := string(g.data[:n])
	g.data = g.data[n:]
	return s
}

func (g *generator) value(depth int) any {
	kind := g.byte() % 16
	if depth == 0 {
		kind %= 10
	}
	switch kind {
	case 0:
		return nil
	case 1:
		return g.byte()%2 == 0
	case 2:
		return int64(g.byte()) - 128
	case 3:
		return uint64(g.byte()) << 56
	case 4:
		return math.Float64frombits(uint64(g.byte())<<56 | uint64(g.byte())<<48)
	case 5, 6, 7:
		return g.string()
	case 8:
		return []byte(g.string())
	case 9:
		return []string{"w1", "demo", "n1", "router", "owner", "user"}[g.byte()%6]
	case 10, 11:
		l := make([]any, g.byte()%4)
		for i := range l {
			l[i] = g.value(depth - 1)
		}
		return l
	case 12:
		key := g.value(0)
		if b, bytes := key.([]byte); bytes { // no map can have it as a key
			key = string(b)
		}
		return map[any]any{key: g.value(depth - 1)}
	}
	d := map[string]any{}
	for range g.byte() % 4 {
		d[g.string()] = g.value(depth - 1)
	}
	return d
}
