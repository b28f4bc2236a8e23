package pairing_test

import (
	"fmt"
	"testing"

	"fabric.center/cfc/relay/store/storetest"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
)

// TestRights is who may not what, in one realm with one node: and nothing that
// is refused does anything, in the store, the hub or the audit log.
func TestRights(t *testing.T) {
	r := newRig(t)
	node := r.must("ann", "pair_node", storetest.Key(t), "r1", "n1").(catalog.NodeInfo).OID
	r.hub.did()
	state := func() string {
		realms, err := r.Realms(r.Ctx())
		r.OK(err)
		members, err := r.Members(r.Ctx(), "r1")
		r.OK(err)
		users, err := r.Users(r.Ctx())
		r.OK(err)
		nodes, err := r.Nodes(r.Ctx(), "r1")
		r.OK(err)
		return fmt.Sprint(realms, members, users, nodes, len(r.audit.all))
	}
	before := state()
	for name, c := range map[string]struct {
		want      cfcerr.Kind
		user, row string
		args      []any
	}{
		"a stranger does not see the realm":              {cfcerr.NoSuchRealm, "eve", "get_management_realm", []any{"r1"}},
		"the relay's owner is no member either":          {cfcerr.NoSuchRealm, "root", "get_management_realm", []any{"r1"}},
		"a stranger does not see the members":            {cfcerr.NoSuchRealm, "eve", "get_members", []any{"r1"}},
		"a stranger does not see the nodes":              {cfcerr.NoSuchRealm, "eve", "get_nodes", []any{"r1"}},
		"a stranger does not see the node":               {cfcerr.NoSuchNode, "eve", "get_node", []any{node}},
		"a stranger does not see it by name":             {cfcerr.NoSuchNode, "eve", "get_node", []any{"r1/n1"}},
		"an unknown node looks the same":                 {cfcerr.NoSuchNode, "eve", "get_node", []any{newOID()}},
		"a node id alone is ambiguous":                   {cfcerr.InvalidArgument, "ann", "get_node", []any{"n1"}},
		"a viewer does not unpair":                       {cfcerr.NotAuthorized, "bob", "unpair_node", []any{node}},
		"a stranger cannot tell that there is something": {cfcerr.NoSuchNode, "eve", "unpair_node", []any{node}},
		"a viewer does not pair":                         {cfcerr.NotAuthorized, "bob", "pair_node", []any{storetest.Key(t), "r1", "n2"}},
		"a stranger does not pair":                       {cfcerr.NoSuchRealm, "eve", "pair_node", []any{storetest.Key(t), "r1", "n2"}},
		"a viewer adds nobody":                           {cfcerr.NotAuthorized, "bob", "add_member", []any{"r1", "eve", "viewer"}},
		"a viewer does not raise himself":                {cfcerr.NotAuthorized, "bob", "add_member", []any{"r1", "bob", "owner"}},
		"a stranger does not let himself in":             {cfcerr.NoSuchRealm, "eve", "add_member", []any{"r1", "eve", "owner"}},
		"the relay's owner does not either":              {cfcerr.NoSuchRealm, "root", "add_member", []any{"r1", "root", "owner"}},
		"a viewer removes no other":                      {cfcerr.NotAuthorized, "bob", "remove_member", []any{"r1", "ann"}},
		"a stranger removes nobody":                      {cfcerr.NoSuchRealm, "eve", "remove_member", []any{"r1", "bob"}},
		"a stranger cannot leave":                        {cfcerr.NoSuchRealm, "eve", "remove_member", []any{"r1", "eve"}},
		"a viewer does not delete the realm":             {cfcerr.NotAuthorized, "bob", "delete_management_realm", []any{"r1"}},
		"a stranger does not delete the realm":           {cfcerr.NoSuchRealm, "eve", "delete_management_realm", []any{"r1", true}},
		"the last owner cannot leave":                    {cfcerr.LastOwner, "ann", "remove_member", []any{"r1", "ann"}},
		"the last owner cannot step down":                {cfcerr.LastOwner, "ann", "add_member", []any{"r1", "ann", "viewer"}},
		"a member is a user":                             {cfcerr.NoSuchUser, "ann", "add_member", []any{"r1", "nobody", "viewer"}},
		"an owner is a user":                             {cfcerr.NoSuchUser, "ann", "add_member", []any{"r1", "nobody", "owner"}},
		"a realm has one name":                           {cfcerr.AlreadyExists, "eve", "create_management_realm", []any{"r1"}},
		"a realm has no options":                         {cfcerr.InvalidArgument, "eve", "create_management_realm", []any{"lab", dict{"size": 3}}},
		"a realm with nodes is not deleted by the way":   {cfcerr.NotEmpty, "ann", "delete_management_realm", []any{"r1"}},
		"only the relay's owner lists users":             {cfcerr.NotAuthorized, "ann", "get_users", nil},
		"only the relay's owner deletes users":           {cfcerr.NotAuthorized, "ann", "delete_user", []any{"eve"}},
		"the last owner of a realm is not deleted":       {cfcerr.LastOwner, "root", "delete_user", []any{"ann"}},
		"the relay keeps its owner":                      {cfcerr.LastOwner, "root", "delete_user", []any{"root"}},
		"a name in use":                                  {cfcerr.NameTaken, "ann", "pair_node", []any{storetest.Key(t), "r1", "n1"}},
	} {
		t.Run(name, func(t *testing.T) {
			outer := r.t
			defer func() { r.t = outer }()
			r.t = t
			r.refuse(c.want, c.user, c.row, c.args...)
		})
	}
	r.did()
	if after := state(); after != before {
		t.Errorf("what was refused left\n%s\nbefore it was\n%s", after, before)
	}
}
