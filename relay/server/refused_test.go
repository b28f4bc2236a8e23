package server

import (
	"os"
	"strings"
	"testing"

	"fabric.center/cfc/relay/audit"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/session"
	"github.com/gammazero/nexus/v3/wamp"
)

// Two hosts with one key: the second is refused after a good log-in, and an
// auditor finds that too.
func TestDuplicateIdentityIsAudited(t *testing.T) {
	r := start(t, defaults(t, t.TempDir()))
	_, owner := r.owner()
	call(t, owner, "cfc.create_management_realm", "demo")
	k := newKey(t)
	serveNode(t, r.join(r.agent(k, token(t, owner, "node", wamp.Dict{"realm": "demo"}), "n1")))
	if s, err := session.Join(t.Context(), r.agent(k, "", "")); cfcerr.KindOf(err) != cfcerr.DuplicateIdentity {
		t.Fatalf("got %v, %v", s, err)
	}
	must(t, r.stop())
	text, err := os.ReadFile(audit.RefusedPath(r.cfg.AuditFile()))
	must(t, err)
	for _, want := range []string{audit.LoginRefused, "cfc.error.duplicate_identity", k.Public(), `"node_id":"n1"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
}
