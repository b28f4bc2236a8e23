package cli

import (
	"strings"
	"testing"

	"fabric.center/cfc/shared/wire"
)

// Wherever in the arguments a token stands: nothing happens, and it is not
// repeated.
func TestTokenInTheArguments(t *testing.T) {
	token := newToken(t, wire.ForUser)
	mistyped := strings.ToUpper(token[5:])
	for _, arg := range []string{token, "--token=" + token, "cfcu_" + mistyped, "x" + token, token[:30]} {
		for _, line := range []string{"login " + newRelay, "", "call com.example.f", "token rm", "node", "login " + newRelay + " --token"} {
			r := newRig(t)
			if text := r.bad(2, "a token is never given as an argument", append(strings.Fields(line), arg)...); strings.Contains(text, arg) {
				t.Errorf("cfc %s: the token is shown", line)
			}
			if len(r.joins) > 0 {
				t.Errorf("cfc %s: the relay was asked", line)
			}
		}
	}
	r := newRig(t)
	r.answers = answersOfAll()
	r.good("token", "rm", "abcdefgh")
}
