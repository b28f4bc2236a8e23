// Package catalog declares every operation and every event, once.
//
// One row says what an operation is called, who may call it, what it takes and
// gives, and whether the agent only passes it on to the node (Forward) or has
// code for it. The relay's access check, the agent's dispatch, the command line,
// the reference page and the contract tests read these rows; nothing else in
// the tree spells the URI of an operation or an event.
//
// A row is bound to Go types for its arguments and result (Spec), so that a
// handler of the wrong shape does not compile, and arguments are checked
// before it runs (see Decode for the rules). A bad row panics at start: the
// table is a constant, so every test run meets it.
package catalog

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
)

// Realm says in which kind of realm a row is called.
type Realm uint8

// The kinds of realm. Remote rows are called in a management realm too, and
// are carried out by the agent of the node that they name first.
const (
	Users Realm = iota + 1
	Management
	Remote
)

// Access is who may call an operation.
type Access uint8

// Access levels. The zero value is invalid, so that a row that forgets it is
// refused at start and not opened to everyone.
const (
	// Read, Write and Admin are what a viewer, an operator and an owner of
	// a management realm may call, each also what is below.
	Read Access = iota + 1
	Write
	Admin
	// AnyUser is every user of the users realm; what he is not a member of
	// does not exist for him.
	AnyUser
	// RelayOwner is the user who owns the relay.
	RelayOwner
)

var accessNames = map[Access]string{Read: "read", Write: "write", Admin: "admin", AnyUser: "any user", RelayOwner: "relay's owner"}

// String is the level's name in docs.
func (a Access) String() string { return accessNames[a] }

// Allows reports whether a member with this role may. For the rows of the
// users realm it answers false: their handlers know who owns what.
func (a Access) Allows(r wire.Role) bool {
	least := a.Least()
	return least != "" && r.Rank() >= least.Rank()
}

// Least is the least role of a management realm that may, empty where roles do
// not decide.
func (a Access) Least() wire.Role {
	switch a {
	case Read:
		return wire.Viewer
	case Write:
		return wire.Operator
	case Admin:
		return wire.Owner
	}
	return ""
}

// Scope says which ids precede a remote operation's own arguments.
type Scope uint8

// The scopes: (node_id, …) and (node_id, worker_id, …). Rows of the relay have none.
const (
	Node Scope = iota + 1
	Worker
)

// DefaultTimeout is how long a call may take when neither the caller nor the
// row says otherwise.
const DefaultTimeout = 30 * time.Second

// Op is one row.
type Op struct {
	Realm   Realm
	Area    string   // "router"; empty for what the relay answers
	Name    string   // "start_router_realm"
	Aliases []string // further names in the same area
	Keys    []string // further names in other areas, "area.op", below Crossbar.io's prefix alone
	Scope   Scope
	Host    bool // the host alone is needed: carried out whether or not the node is there
	Access  Access
	Doc     string // first sentence is the command's summary
	Returns string // what the result is, where its type does not say it
	// Crossbar is what the result is under Crossbar.io's names, where that
	// differs; Progress what progressive results hold, empty where there are none.
	Crossbar, Progress string
	// Forward is the node's procedure below its prefix ("get_status", or for
	// Scope Worker below the worker's); empty where there is code for the row.
	Forward string
	// Repair is what a stock node does wrongly here, how the agent comes to the
	// result all the same, and with what side effect. Impossible is why a stock
	// node cannot do it at all. Both are empty where all is well.
	Repair, Impossible string
	// Unshown is why no run against a node can show a result of it.
	Unshown string
	Emits   []string      // names of the events that a successful call causes
	Errors  []cfcerr.Kind // beyond those that every call may return
	Secrets []string      // paths in the result that only an owner sees
	Timeout time.Duration // zero for DefaultTimeout
	// OnStream rows are the steps through a stream: they come many a second, so
	// that none waits for another's and they are not logged each.
	OnStream bool

	in, out reflect.Type
	args    []Arg
}

// Spec is a row with its types attached.
type Spec[In, Out any] struct{ *Op }

var ops []*Op

func define[In, Out any](op Op) Spec[In, Out] {
	op.in, op.out = reflect.TypeFor[In](), reflect.TypeFor[Out]()
	if err := op.init(); err != nil {
		panic(fmt.Sprintf("catalog: %s: %v", op.URI(), err))
	}
	ops = append(ops, &op)
	return Spec[In, Out]{&op}
}

func (o *Op) init() error {
	var err error
	if o.args, err = argsOf(o.in); err != nil {
		return err
	}
	remote := o.Realm == Remote
	switch {
	case o.Realm == 0, o.Access == 0, o.Doc == "", o.Name == "":
		return fmt.Errorf("realm, name, access and doc are required")
	case remote != (o.Area != ""), remote != (o.Scope != 0):
		return fmt.Errorf("area and scope belong to remote rows, and each of them needs both")
	case o.Repair != "" && (!remote || o.Forward != "" || o.Impossible != ""):
		return fmt.Errorf("what is repaired is remote, has code, and is possible")
	case o.Host && (o.Scope != Node || o.Forward != ""):
		return fmt.Errorf("what the host alone carries out is of scope node and not forwarded")
	case (o.Forward != "" || o.Progress != "" || o.Keys != nil) && !remote:
		return fmt.Errorf("only remote rows are forwarded, have progress or names in other areas")
	case o.Scope == Worker && (len(o.args) == 0 || o.args[0].Name != "worker_id"):
		return fmt.Errorf("a row of scope worker takes worker_id first: embed OnWorker")
	case (o.Access == AnyUser || o.Access == RelayOwner) != (o.Realm == Users):
		return fmt.Errorf("access %q does not fit the realm", o.Access)
	case slices.ContainsFunc(ops, func(p *Op) bool { return p.URI() == o.URI() && (p.Realm == Users) == (o.Realm == Users) }):
		return fmt.Errorf("declared twice")
	}
	return nil
}

// URI is the name that clients call.
func (o *Op) URI() string {
	if o.Realm == Remote {
		return wire.RemotePrefix + o.Key()
	}
	return wire.Prefix + o.Name
}

// Key is what names a remote operation between relay and agent: "area.op".
func (o *Op) Key() string {
	if o.Area == "" {
		return o.Name
	}
	return o.Area + "." + o.Name
}

// Deadline is how long a call may take unless the caller says otherwise.
func (o *Op) Deadline() time.Duration {
	if o.Timeout > 0 {
		return o.Timeout
	}
	return DefaultTimeout
}

// Mutates reports whether the operation changes something.
func (o *Op) Mutates() bool { return o.Access == Write || o.Access == Admin }

// Args are the operation's own arguments in call order; a remote row's node
// comes before them.
func (o *Op) Args() []Arg { return o.args }

// Result is the Go type of the result.
func (o *Op) Result() reflect.Type { return o.out }

// Summary is the first sentence of the doc.
func (o *Op) Summary() string {
	s, _, _ := strings.Cut(o.Doc, ". ")
	return strings.TrimSuffix(s, ".")
}

// All are the rows, by realm and URI.
func All() []*Op {
	return slices.SortedFunc(slices.Values(ops), func(a, b *Op) int {
		return cmp.Or(cmp.Compare(a.Realm, b.Realm), strings.Compare(a.URI(), b.URI()))
	})
}
