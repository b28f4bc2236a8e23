package pairing_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"

	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/relay/store/storetest"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
)

// TestStoreAndHubAgree makes changes of all kinds at once (realms made and
// deleted, nodes paired, claimed, replaced and unpaired) and compares, at the
// end, what the store keeps with what the hub runs.
func TestStoreAndHubAgree(t *testing.T) {
	r := newRig(t)
	realms := []string{"r1", "r2", "r3"}
	var all sync.WaitGroup
	for w := range 6 {
		rnd := rand.New(rand.NewPCG(uint64(w), 7))
		all.Go(func() {
			for range 80 {
				realm, id := realms[rnd.IntN(len(realms))], fmt.Sprint("n", rnd.IntN(3))
				var err error
				switch rnd.IntN(6) {
				case 0:
					_, err = r.call("ann", "create_management_realm", realm)
				case 1:
					_, err = r.call("ann", "delete_management_realm", realm, rnd.IntN(3) > 0)
				case 2:
					_, err = r.call("ann", "unpair_node", realm+"/"+id)
				case 3:
					_, err = r.call("ann", "pair_node", storetest.Key(t), realm, id)
				default:
					err = claimOne(r, realm, id, storetest.Key(t))
				}
				if k := cfcerr.KindOf(err); k == cfcerr.Internal {
					t.Errorf("%s %s: %v", realm, id, err)
				}
			}
		})
	}
	all.Wait()
	kept := map[string]map[string]string{}
	list, err := r.Realms(r.Ctx())
	r.OK(err)
	for _, realm := range list {
		kept[realm.Name], err = r.NodeIDs(r.Ctx(), realm.Name)
		r.OK(err)
	}
	if !reflect.DeepEqual(kept, r.hub.realms) {
		t.Errorf("the store keeps\n%v\nthe hub runs\n%v", kept, r.hub.realms)
	}
	// Nothing is told of a realm before it runs or after it has ended.
	runs := map[string]bool{"r1": true}
	for _, line := range r.hub.did() {
		f := strings.Fields(line)
		switch f[0] + " " + f[1] {
		case "add realm":
			runs[f[2]] = true
		case "remove realm":
			delete(runs, strings.TrimSuffix(f[2], ":"))
		default:
			realm, _, _ := strings.Cut(f[2], "/")
			if !runs[realm] {
				t.Errorf("%s: the realm does not run", line)
			}
		}
	}
}

func claimOne(r *rig, realm, id, key string) error {
	out, err := r.call("ann", "create_token", "node", dict{"realm": realm, "node_id": id, "replace": true})
	if err != nil {
		return err
	}
	tok, err := wire.ParseToken(out.(catalog.TokenMade).Token)
	if err != nil {
		return err
	}
	_, err = r.claimNode(tok, key, "")
	return err
}

// A lock that is held is waited for as long as the caller may wait, and no longer.
func TestChangeKeepsItsDeadline(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tok := mustToken(t)
	if _, err := r.m.ClaimUser(ctx, store.UserClaim{Token: tok, Now: r.now}, ""); cfcerr.KindOf(err) != cfcerr.Canceled {
		t.Errorf("got %v", err)
	}
}
