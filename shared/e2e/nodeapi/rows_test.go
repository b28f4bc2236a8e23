package nodeapi

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/e2e/driver"
	"fabric.center/cfc/shared/e2e/proof"
	"fabric.center/cfc/shared/wire"
)

// badCall is a call that has one thing wrong.
type badCall struct {
	what   string
	args   []any
	kwargs map[string]any
}

// badCalls are made from the row alone: each argument of a wrong type or form,
// too few, too many, an unknown name, one twice.
func badCalls(o *catalog.Op) []badCall {
	good := goodArgs(o)
	required := 0
	for _, a := range o.Args() {
		if a.Pos >= 0 && !a.Optional {
			required = a.Pos + 1
		}
	}
	var bad []badCall
	add := func(what string, args []any, kwargs map[string]any) { bad = append(bad, badCall{what, args, kwargs}) }
	for _, a := range o.Args() {
		if a.Pos < 0 {
			continue
		}
		for _, v := range badValues(o, a) {
			args := slices.Clone(good)
			args[a.Pos] = v
			add(fmt.Sprintf("%s is %v", a.Name, v), args, nil)
		}
		add(a.Name+" twice", good, map[string]any{a.Name: goodValue(o.Area, a)})
	}
	for n := range required {
		add(fmt.Sprintf("%d of %d arguments", n, required), good[:n], nil)
	}
	add("one too many", append(slices.Clone(good), "more"), nil)
	add("an unknown name", good, map[string]any{"no_such_argument": 1})
	return bad
}

// goodConfigs are the dicts that need something in them.
var goodConfigs = map[string]map[string]any{
	"realm_config":     {"name": "realm1"},
	"role_config":      {"name": "ghost", "permissions": []any{}},
	"path_config":      {"type": "json", "value": 1},
	"transport_config": {"type": "websocket", "endpoint": nowhere},
	"component_config": {"type": "class", "classname": "echo.Echo", "realm": "realm1", "role": "ghost"},
	"container.component_config": {"type": "class", "classname": "echo.Echo", "realm": "realm1",
		"transport": map[string]any{"type": "rawsocket", "url": "rs://localhost", "serializer": "cbor", "endpoint": nowhere}},
	"route_config": {"ghost": "ghost"},
	"connection_config": {"transport": map[string]any{"type": "rawsocket", "url": "rs://localhost", "serializer": "cbor", "endpoint": nowhere},
		"auth": map[string]any{"anonymous-proxy": map[string]any{}}},
}

var nowhere = map[string]any{"type": "unix", "path": "/nowhere"}

// goodArgs are of the right types and forms; the ids in them name nothing.
func goodArgs(o *catalog.Op) []any {
	var good []any
	for _, a := range o.Args() {
		if a.Pos >= 0 {
			good = append(good, goodValue(o.Area, a))
		}
	}
	return good
}

// goodValue is one that the row takes.
func goodValue(area string, a catalog.Arg) any {
	for _, name := range []string{area + "." + a.Name, a.Name} {
		if config, ok := goodConfigs[name]; ok {
			return config
		}
	}
	switch a.Name {
	case "config":
		if a.Type.Kind() == reflect.Interface {
			return map[string]any{"type": "router"}
		}
		return map[string]any{}
	case "component_id":
		return "ghost"
	case "profiler":
		return "py-spy"
	case "node":
		return realm + "/n1"
	case "pubkey":
		return strings.Repeat("ab", 32)
	case "role":
		return "viewer"
	case "purpose":
		return "user"
	case "status":
		return "online"
	case "paths":
		return []any{"/"}
	case "cpus":
		return []any{0}
	}
	t := a.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "ghost"
	case reflect.Bool:
		return false
	case reflect.Slice:
		return []any{}
	case reflect.Map:
		return map[string]any{}
	}
	return 1
}

// badValues are of another type or, where the type has one, of another form.
func badValues(o *catalog.Op, a catalog.Arg) []any {
	t := a.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Interface:
		return nil
	case reflect.String:
		bad := []any{7, 1.5, true, []any{"ghost"}, map[string]any{"id": "ghost"}}
		if _, formed := reflect.Zero(t).Interface().(catalog.Checker); formed {
			bad = append(bad, "", ".", "a b", "ghöst", "../x", "ghost\x00", "ghost\n")
			if !o.Host { // Docker's names may be long
				bad = append(bad, strings.Repeat("x", 300))
			}
		}
		return bad
	case reflect.Float64:
		return []any{"wrong", true, []any{map[string]any{}}}
	default:
		return []any{"wrong", 1.5, []any{map[string]any{}}}
	}
}

// TestEveryRowRefusesBadArguments calls every row with each client, wrongly.
func TestEveryRowRefusesBadArguments(t *testing.T) {
	for _, name := range driver.Names() {
		t.Run(name, func(t *testing.T) {
			users, members := client(t, name, wire.UsersRealm), client(t, name, realm)
			for _, o := range catalog.All() {
				c := members
				if o.Realm == catalog.Users {
					c = users
				}
				for _, bad := range badCalls(o) {
					if strings.HasPrefix(name, "autobahn/") && takenByPython(bad.kwargs) {
						continue
					}
					args := bad.args
					if o.Realm == catalog.Remote {
						args = append([]any{"n1"}, args...)
					}
					_, err := c.Call(within(t, 20*time.Second), o.URI(), args, bad.kwargs)
					var e *driver.Error
					if !errors.As(err, &e) || e.URI != cfcerr.InvalidArgument.URI() {
						t.Errorf("%s, %s: %v; expected %s", o.Key(), bad.what, err, cfcerr.InvalidArgument.URI())
						continue
					}
					if text, _ := e.Args[0].(string); text == "" || e.Kwargs["argument"] == nil || e.Kwargs["expected"] == nil {
						t.Errorf("%s, %s: the refusal does not say which argument and what was expected: %v %v", o.Key(), bad.what, e.Args, e.Kwargs)
					}
				}
			}
		})
	}
}

// takenByPython says that Autobahn|Python keeps one of the keywords for itself.
func takenByPython(kwargs map[string]any) bool {
	_, options := kwargs["options"]
	_, procedure := kwargs["procedure"]
	return options || procedure
}

// TestEveryReadingRowAnswers calls the rows that change nothing and need no
// object, so that none of them goes without a good call.
func TestEveryReadingRowAnswers(t *testing.T) {
	for _, name := range driver.Names() {
		t.Run(name, func(t *testing.T) {
			users, members := client(t, name, wire.UsersRealm), client(t, name, realm)
			for _, call := range []struct {
				o    *catalog.Op
				args []any
			}{
				{catalog.UsersGetStatus.Op, nil}, {catalog.GetManagementRealms.Op, nil}, {catalog.GetManagementRealm.Op, []any{realm}},
				{catalog.UsersGetNodes.Op, nil}, {catalog.UsersGetNodes.Op, []any{realm, "online"}}, {catalog.UsersGetNode.Op, []any{realm + "/n1"}},
				{catalog.GetMembers.Op, []any{realm}}, {catalog.GetUsers.Op, nil}, {catalog.GetTokens.Op, nil},
				{catalog.RealmGetStatus.Op, nil}, {catalog.RealmGetNodes.Op, []any{"online"}}, {catalog.RealmGetNode.Op, []any{"n1"}},
				{catalog.NodeGetStatus.Op, []any{"n1"}}, {catalog.NodeGetWorkers.Op, []any{"n1", []any{"router"}}},
			} {
				c := members
				if call.o.Realm == catalog.Users {
					c = users
				}
				for _, uri := range call.o.URIs() {
					if _, err := c.Call(within(t, 20*time.Second), uri, call.args, nil); err != nil {
						t.Errorf("%s%v: %v", uri, call.args, err)
					}
				}
			}
		})
	}
}

// typeOf is the type of worker that an area's operations are for.
var typeOf = map[string]string{"container": "container", "proxy": "proxy"}

// TestEveryRowRefusesWhatIsNotThere asks for workers that are not there, and for
// objects on workers that are.
func TestEveryRowRefusesWhatIsNotThere(t *testing.T) {
	o := operate(t, "autobahn-js/cbor")
	for _, kind := range []string{"router", "container", "proxy"} {
		o.worker("absent_"+kind, kind, nil)
	}
	for _, op := range catalog.All() {
		if !proof.Covers(op) || op.Impossible != "" {
			continue
		}
		args := goodArgs(op)
		due := proof.Due(op)
		if slices.Contains(due, cfcerr.NoSuchWorker) {
			o.fails(cfcerr.NoSuchWorker, op.Key(), args...)
		}
		if slices.Contains(due, cfcerr.NoSuchObject) {
			args[0] = "absent_router"
			if kind, ok := typeOf[op.Area]; ok {
				args[0] = "absent_" + kind
			}
			o.fails(cfcerr.NoSuchObject, op.Key(), args...)
		}
	}
}
