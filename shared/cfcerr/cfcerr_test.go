package cfcerr

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/wamp"
)

// contract are the URIs and exit codes that callers rely on: one may be added,
// none may change.
var contract = map[string]int{
	"cfc.error.invalid_argument":           3,
	"wamp.error.not_authorized":            4,
	"wamp.error.authentication_failed":     4,
	"cfc.error.token_invalid":              4,
	"fabric.auth-failed.node-unpaired":     4,
	"cfc.error.no_such_realm":              5,
	"cfc.error.no_such_node":               5,
	"cfc.error.no_such_user":               5,
	"cfc.error.no_such_token":              5,
	"wamp.error.no_such_procedure":         5,
	"crossbar.error.no_such_worker":        5,
	"crossbar.error.no_such_object":        5,
	"cfc.error.node_offline":               6,
	"cfc.error.node_detached":              6,
	"cfc.error.connection_lost":            7,
	"wamp.error.timeout":                   8,
	"wamp.error.canceled":                  8,
	"cfc.error.busy":                       9,
	"cfc.error.limit_exceeded":             9,
	"cfc.error.already_exists":             10,
	"cfc.error.name_taken":                 10,
	"cfc.error.duplicate_identity":         10,
	"crossbar.error.already_running":       10,
	"cfc.error.not_empty":                  11,
	"cfc.error.last_owner":                 11,
	"crossbar.error.not_running":           11,
	"crossbar.error.invalid_configuration": 12,
	"crossbar.error.cannot_listen":         12,
	"crossbar.error.cannot_start":          12,
	"crossbar.error.cannot_stop":           12,
	"cfc.error.not_supported":              13,
	"cfc.error.unavailable":                13,
	"cfc.error.denied_by_host":             14,
	"cfc.error.internal":                   15,
	"":                                     16, // NodeError
}

func TestTableIsTheContract(t *testing.T) {
	got := map[string]int{}
	for _, i := range Table {
		if _, dup := got[i.URI]; dup {
			t.Errorf("%q stands twice", i.URI)
		}
		got[i.URI] = i.Exit
	}
	if !maps.Equal(got, contract) {
		for uri, exit := range contract {
			if e, ok := got[uri]; !ok || e != exit {
				t.Errorf("%q: exit code %d, want %d", uri, e, exit)
			}
		}
		for uri := range got {
			if _, ok := contract[uri]; !ok {
				t.Errorf("%q is not in the contract", uri)
			}
		}
	}
}

func TestEveryKindHasOneRow(t *testing.T) {
	rows := map[Kind]int{}
	for _, i := range Table {
		rows[i.Kind]++
		if i.Doc == "" {
			t.Errorf("%s has no doc", i.URI)
		}
		if i.Exit <= 2 {
			t.Errorf("%s: exit codes 0 to 2 mean something else", i.URI)
		}
		if (i.URI == "") != (i.Kind == NodeError) {
			t.Errorf("kind %d: only NodeError has no URI of its own", i.Kind)
		}
		if i.Kind.URI() != i.URI || i.Kind.Exit() != i.Exit || i.Kind.Doc() != i.Doc || !i.Kind.Known() {
			t.Errorf("%s is not found by its kind", i.URI)
		}
	}
	for k := InvalidArgument; k <= NodeError; k++ {
		if rows[k] != 1 {
			t.Errorf("kind %d has %d rows", k, rows[k])
		}
	}
	for _, k := range []Kind{0, NodeError + 1} {
		if k.Known() {
			t.Errorf("kind %d is known", k)
		}
	}
}

func TestErrorsSurviveTheWire(t *testing.T) {
	for _, i := range Table {
		sent := New(i.Kind, "cannot start %s: why", "x").With("node_id", "n1").With("limit", 3)
		if i.Kind == NodeError {
			sent = FromWamp("crossbar.error.class_import_failed", wamp.List{sent.Message}, sent.Details)
		}
		msg := sent.Wamp(wamp.CALL, 7)
		if msg.Type != wamp.CALL || msg.Request != 7 || msg.Details == nil {
			t.Errorf("%s: message %+v", sent.URI(), msg)
		}
		got := FromWamp(string(msg.Error), msg.Arguments, msg.ArgumentsKw)
		if got.Kind != sent.Kind || got.URI() != sent.URI() || got.Error() != sent.Error() || got.Details["node_id"] != "n1" || got.Details["limit"] != 3 {
			t.Errorf("%s: sent %+v, got %+v", sent.URI(), sent, got)
		}
		if !errors.Is(fmt.Errorf("outer: %w", got), Of(i.Kind)) {
			t.Errorf("%s: errors.Is does not find its kind", sent.URI())
		}
	}
}

func TestFromWampWithoutText(t *testing.T) {
	for name, args := range map[string]wamp.List{"no args": nil, "empty": {""}, "null": {nil}} {
		if e := FromWamp("crossbar.error.odd", args, nil); e.Error() != "crossbar.error.odd" || e.Kind != NodeError || e.Kwargs() != nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if e := FromWamp("x.y", wamp.List{42, "more"}, nil); e.Error() != "42" {
		t.Errorf("got %q", e.Error())
	}
}

func TestWithKeepsTheOriginal(t *testing.T) {
	base := Argument("worker_id", "an id")
	if base.Kind != InvalidArgument || base.Details["argument"] != "worker_id" || base.Details["expected"] != "an id" ||
		base.Error() != "invalid argument worker_id: expected an id" {
		t.Errorf("%+v", base)
	}
	more := base.With("node_id", "n1")
	if _, leaked := base.Details["node_id"]; leaked || more.Details["argument"] != "worker_id" {
		t.Errorf("base %v, more %v", base.Details, more.Details)
	}
	k := more.Kwargs()
	k["argument"] = "changed"
	if more.Details["argument"] != "worker_id" {
		t.Error("Kwargs shares its map")
	}
}

func TestCauseIsKept(t *testing.T) {
	one := New(Unavailable, "cannot ask the engine: %w", fs.ErrNotExist)
	if !errors.Is(one, fs.ErrNotExist) || one.Error() != "cannot ask the engine: file does not exist" {
		t.Errorf("%v", one)
	}
	two := New(Unavailable, "cannot ask: %w, %w", fs.ErrNotExist, fs.ErrClosed)
	if !errors.Is(two, fs.ErrNotExist) || !errors.Is(two, fs.ErrClosed) {
		t.Errorf("%v loses a cause", two)
	}
}

func TestIsComparesKindsAlone(t *testing.T) {
	e := New(NoSuchNode, "x")
	if !errors.Is(e, Of(NoSuchNode)) || errors.Is(e, Of(NodeOffline)) || errors.Is(e, New(NoSuchNode, "y")) {
		t.Error("kinds are compared wrongly")
	}
}

func TestKindOf(t *testing.T) {
	tests := []struct {
		err  error
		kind Kind
	}{
		{nil, 0},
		{errors.New("x"), Internal},
		{New(Busy, "x"), Busy},
		{fmt.Errorf("outer: %w", New(Busy, "x")), Busy},
		{context.DeadlineExceeded, Timeout},
		{fmt.Errorf("outer: %w", context.Canceled), Canceled},
		{New(NodeDetached, "x: %w", context.Canceled), NodeDetached},
	}
	for _, tt := range tests {
		if got := KindOf(tt.err); got != tt.kind {
			t.Errorf("%v: kind %d, want %d", tt.err, got, tt.kind)
		}
	}
}

func TestPublicHidesForeignErrors(t *testing.T) {
	e, id := Public(fmt.Errorf("open /var/lib/x: %w", fs.ErrPermission))
	if e.Kind != Internal || id == "" || e.Details["id"] != id || strings.Contains(e.Error(), "/var") || !strings.Contains(e.Error(), id) {
		t.Errorf("%v, id %q", e, id)
	}
	if _, again := Public(fs.ErrPermission); again == id {
		t.Error("two failures have one id")
	}
	own := New(Busy, "cannot stop w1: busy")
	for _, tt := range []struct {
		err  error
		kind Kind
	}{{own, Busy}, {fmt.Errorf("outer: %w", own), Busy}, {context.DeadlineExceeded, Timeout}, {context.Canceled, Canceled}} {
		if e, id := Public(tt.err); e.Kind != tt.kind || id != "" {
			t.Errorf("%v: %v, id %q", tt.err, e, id)
		}
	}
}

func TestFromCall(t *testing.T) {
	rpc := client.RPCError{Err: New(NoSuchWorker, "cannot find w1").With("worker_id", "w1").Wamp(wamp.CALL, 1), Procedure: "p"}
	err := FromCall(fmt.Errorf("outer: %w", rpc))
	var e *Error
	if !errors.As(err, &e) || e.Kind != NoSuchWorker || e.Details["worker_id"] != "w1" {
		t.Errorf("%v", err)
	}
	for _, other := range []error{nil, client.ErrNotConn, client.RPCError{}, context.Canceled} {
		if got := FromCall(other); got != other {
			t.Errorf("%v became %v", other, got)
		}
	}
}

func TestURIsAreInKnownNamespaces(t *testing.T) {
	allowed := []string{"cfc.error.", "wamp.error.", "crossbar.error.", "fabric.auth-failed."}
	for _, i := range Table {
		if i.URI != "" && !slices.ContainsFunc(allowed, func(p string) bool { return strings.HasPrefix(i.URI, p) }) {
			t.Errorf("%s is in nobody's namespace", i.URI)
		}
	}
}
