package pairing_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/relay/pairing"
	"fabric.center/cfc/relay/route"
	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/relay/store/storetest"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
	"github.com/gammazero/nexus/v3/wamp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hub writes down what it is asked, and knows realms, nodes and sessions well
// enough to be compared with the store.
type hub struct {
	mu       sync.Mutex
	done     []string // what was asked, in order
	realms   map[string]map[string]string
	presence map[string]route.Presence // by oid
	sessions []route.Identity
	fail     error // of AddRealm and AddNode
}

func newHub() *hub {
	return &hub{realms: map[string]map[string]string{}, presence: map[string]route.Presence{}}
}

func (h *hub) note(format string, args ...any) { h.done = append(h.done, fmt.Sprintf(format, args...)) }

func (h *hub) AddRealm(name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return h.fail
	}
	if h.realms[name] != nil {
		return errors.New("runs already")
	}
	h.note("add realm %s", name)
	h.realms[name] = map[string]string{}
	return nil
}

func (h *hub) RemoveRealm(name, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note("remove realm %s: %s", name, reason)
	delete(h.realms, name)
}

func (h *hub) AddNode(realm, id, oid string, last route.Presence) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return h.fail
	}
	if h.realms[realm] == nil {
		return errors.New("no such realm")
	}
	h.note("add node %s/%s", realm, id)
	if h.realms[realm][id] == "" {
		h.realms[realm][id], h.presence[oid] = oid, last
	}
	return nil
}

func (h *hub) RemoveNode(realm, id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note("remove node %s/%s", realm, id)
	delete(h.realms[realm], id)
}

func (h *hub) End(reason, _ string, match func(route.Identity) bool) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, s := range h.sessions {
		if match(s) {
			h.note("end %s@%s: %s", s.AuthID, s.Realm, reason)
			n++
		}
	}
	return n
}

func (h *hub) Presence(realm, ref string) (route.Presence, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if oid := h.realms[realm][ref]; oid != "" {
		ref = oid
	}
	p, ok := h.presence[ref]
	return p, ok
}

func (h *hub) Count(realm string) (total, online int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, oid := range h.realms[realm] {
		if total++; h.presence[oid].Online {
			online++
		}
	}
	return total, online
}

func (h *hub) Publish(realm string, e *catalog.Event, id string, d map[string]any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note("publish %s %s/%s reason=%v by=%v", e.Name, realm, id, d["reason"], d["by"])
}

// set changes the presence of a node.
func (h *hub) set(oid string, p route.Presence) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.presence[oid] = p
}

// did are the hub's last doings since it was asked before.
func (h *hub) did() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.done
	h.done = nil
	return out
}

type auditor struct {
	mu  sync.Mutex
	all []audit.Event
}

func (a *auditor) Record(e audit.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, e)
}

// rig is a manager over a real store.
type rig struct {
	*storetest.World
	t     *testing.T
	hub   *hub
	audit *auditor
	m     *pairing.Manager
	table *catalog.Table
	index catalog.Index
	pin   string
	owner string // path of the first owner's token
	now   time.Time
	most  int // realms of one user
}

// emptyRig has no user yet.
func emptyRig(t *testing.T) (*rig, *store.Bolt) {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "data", "relay.db"), store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	r := &rig{t: t, hub: newHub(), audit: &auditor{}, now: storetest.Start, index: catalog.NewIndex(), owner: filepath.Join(t.TempDir(), "first-owner.token")}
	r.start(s)
	return r, s
}

// start makes a manager, as a relay that starts does.
func (r *rig) start(s store.Store) {
	r.t.Helper()
	r.table = catalog.NewTable()
	r.m = pairing.New(pairing.Config{Store: s, Hub: r.hub, Audit: r.audit, Version: "1.2.3", OwnerTokenFile: r.owner, Realms: r.most,
		Pin: func() string { return r.pin }, Now: func() time.Time { return r.now }})
	r.m.Bind(r.table)
	if err := r.m.Load(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// newRig has the relay's owner root, users ann, bob and eve, and realm r1 with
// ann as owner and bob as viewer.
func newRig(t *testing.T) *rig {
	t.Helper()
	r, s := emptyRig(t)
	r.World = storetest.NewWorld(t, s)
	for _, u := range []string{"ann", "bob", "eve"} {
		r.User(u)
	}
	r.must("ann", "create_management_realm", "r1")
	r.must("ann", "add_member", "r1", "bob", "viewer")
	r.hub.did()
	return r
}

// limit starts the manager anew, with a limit of realms.
func (r *rig) limit(realms int) {
	r.t.Helper()
	r.most, r.hub.realms = realms, map[string]map[string]string{}
	r.start(r.Store)
	r.hub.did()
}

// call calls a row of the users realm by its name, as the hub would.
func (r *rig) call(user, name string, args ...any) (any, error) {
	r.t.Helper()
	op, ok := r.index.Users(wire.Prefix + name)
	if !ok {
		r.t.Fatalf("no row %s", name)
	}
	return r.run(op, catalog.Caller{AuthID: user, Realm: wire.UsersRealm}, args)
}

// byTicket calls a row of the users realm from a session of a ticket.
func (r *rig) byTicket(user, name string, args ...any) (any, error) {
	r.t.Helper()
	op, _ := r.index.Users(wire.Prefix + name)
	return r.run(op, catalog.Caller{AuthID: user, Realm: wire.UsersRealm, Method: "ticket"}, args)
}

// inRealm calls a row of a management realm.
func (r *rig) inRealm(realm, user, name string, args ...any) (any, error) {
	r.t.Helper()
	op, ok := r.index.Management(wire.Prefix + name)
	if !ok {
		r.t.Fatalf("no row %s", name)
	}
	return r.run(op, catalog.Caller{AuthID: user, Realm: realm, Role: wire.Viewer}, args)
}

func (r *rig) run(op *catalog.Op, c catalog.Caller, args []any) (any, error) {
	r.t.Helper()
	h, ok := r.table.HandlerFor(op, c)
	if !ok {
		r.t.Fatalf("%s is not bound", op.URI())
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	return h(ctx, catalog.Call{Op: op, Caller: c, Args: wamp.List(args)})
}

func (r *rig) must(user, name string, args ...any) any {
	r.t.Helper()
	out, err := r.call(user, name, args...)
	if err != nil {
		r.t.Fatalf("%s by %s: %v", name, user, err)
	}
	return out
}

func (r *rig) refuse(kind cfcerr.Kind, user, name string, args ...any) *cfcerr.Error {
	r.t.Helper()
	out, err := r.call(user, name, args...)
	if cfcerr.KindOf(err) != kind {
		r.t.Fatalf("%s%v by %s: %+v, %v; want %s", name, args, user, out, err, kind.URI())
	}
	e, _ := cfcerr.Public(err)
	if !strings.HasPrefix(e.Message, "cannot ") && kind != cfcerr.InvalidArgument {
		r.t.Errorf("message %q", e.Message)
	}
	return e
}

func (r *rig) did(want ...string) {
	r.t.Helper()
	if got := r.hub.did(); !slices.Equal(got, want) {
		r.t.Fatalf("the hub was asked\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// audited wants the last event to be of that kind, with these words in it.
func (r *rig) audited(event string, words ...string) {
	r.t.Helper()
	last := r.audit.all[len(r.audit.all)-1]
	text := fmt.Sprintf("%+v", last)
	if last.Event != event {
		r.t.Errorf("audit has %s, want %s", text, event)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			r.t.Errorf("audit has %s, want %s in it", text, w)
		}
	}
}

// token makes a token by the row and reads its secret.
func (r *rig) token(user, purpose string, options map[string]any) (catalog.TokenMade, wire.Token) {
	r.t.Helper()
	made := r.must(user, "create_token", purpose, options).(catalog.TokenMade)
	secret, err := wire.ParseToken(made.Token)
	if err != nil {
		r.t.Fatal(err)
	}
	return made, secret
}

func (r *rig) claimNode(tok wire.Token, key, id string) (store.NodeClaimed, error) {
	return r.m.ClaimNode(r.Ctx(), store.NodeClaim{Token: tok, Pubkey: key, NodeID: id, OID: newOID(), Now: r.now}, "10.0.0.9")
}

func (r *rig) claimUser(tok wire.Token, key string) (store.UserClaimed, error) {
	return r.m.ClaimUser(r.Ctx(), store.UserClaim{Token: tok, Pubkey: key, Now: r.now}, "10.0.0.9")
}
