package wire

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func TestNewTokenHasItsForm(t *testing.T) {
	for purpose, prefix := range map[Purpose]string{ForUser: "cfcu", ForNode: "cfcn", ForTicket: "cfct"} {
		form := regexp.MustCompile(`^` + prefix + `_[a-z2-7]{8}_[a-z2-7]{26}[a-z2-7]{4}$`)
		seen := map[string]bool{}
		for range 100 {
			tok, err := NewToken(purpose)
			if err != nil {
				t.Fatal(err)
			}
			if !form.MatchString(tok.Secret()) || seen[tok.Secret()] {
				t.Fatalf("token of %s has not its form, or came twice", purpose)
			}
			seen[tok.Secret()] = true
			back, err := ParseToken(tok.Secret())
			if err != nil || back != tok || back.Hash() != tok.Hash() {
				t.Fatalf("token of %s is not read back: %v", purpose, err)
			}
		}
	}
	if _, err := NewToken("root"); err == nil {
		t.Error("a token without a purpose was made")
	}
}

func TestTokenShowsItsIDAlone(t *testing.T) {
	tok, _ := NewToken(ForNode)
	secret := strings.TrimPrefix(tok.Secret(), "cfcn_"+tok.ID+"_")
	for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x"} {
		if got := fmt.Sprintf(verb, tok); strings.Contains(got, secret) || strings.Contains(got, fmt.Sprintf("%x", secret)) {
			t.Errorf("%s shows the secret", verb)
		}
	}
	if got := tok.String(); got != "cfcn_"+tok.ID+"_…" {
		t.Errorf("got %s", got)
	}
}

// sealed completes a body with the checksum that belongs to it, so that a case
// fails for its own reason.
func sealed(body string) string { return body + checksum(body) }

func TestParseTokenRefuses(t *testing.T) {
	tok, _ := NewToken(ForUser)
	text := tok.Secret()
	secret := strings.Repeat("a", tokenSecret)
	tests := map[string]string{
		"nothing":           "",
		"no prefix":         strings.TrimPrefix(text, "cfcu_"),
		"foreign prefix":    sealed("cfcx_abcdefgh_" + secret),
		"another purpose":   "cfcn_" + strings.TrimPrefix(text, "cfcu_"),
		"upper case":        strings.ToUpper(text),
		"a space behind":    text + " ",
		"cut":               text[:len(text)-1],
		"a letter mistyped": mistype(text, 20),
		"sum mistyped":      mistype(text, len(text)-1),
		"id mistyped":       mistype(text, 6),
		"id too short":      sealed("cfcu_abcdefg_" + secret),
		"id too long":       sealed("cfcu_abcdefghi_" + secret),
		"id not base32":     sealed("cfcu_abc\nefgh_" + secret),
		"secret too short":  sealed("cfcu_abcdefgh_" + secret[1:]),
		"secret not base32": sealed("cfcu_abcdefgh_" + secret[1:] + "1"),
		"separator inside":  sealed("cfcu_abcdefgh_" + secret + "_a"),
		"too long":          sealed("cfcu_abcdefgh_" + strings.Repeat("a", 200)),
	}
	for name, s := range tests {
		if _, err := ParseToken(s); !errors.Is(err, ErrTokenForm) {
			t.Errorf("%s: %v", name, err)
		} else if len(s) > 10 && strings.Contains(err.Error(), s[8:]) {
			t.Errorf("%s: the error quotes the token", name)
		}
	}
	if _, err := ParseToken(sealed("cfcu_abcdefgh_" + secret + "longer")); err != nil {
		t.Errorf("a secret may be longer than %d: %v", tokenSecret, err)
	}
}

func mistype(s string, i int) string {
	c := byte('a')
	if s[i] == c {
		c = 'b'
	}
	return s[:i] + string(c) + s[i+1:]
}

// Strangers send tokens: none may panic the parser, and what it takes is whole.
func FuzzParseToken(f *testing.F) {
	tok, _ := NewToken(ForNode)
	f.Add(tok.Secret())
	f.Add("cfcu__")
	f.Add(sealed("cfct_abcdefgh_" + strings.Repeat("a", tokenSecret)))
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := ParseToken(s)
		if err == nil && (tok.Secret() != s || len(tok.ID) != tokenID || strings.Trim(tok.ID, base32Digits) != "" || prefixes[tok.Purpose] != s[:5]) {
			t.Errorf("%q was taken as %+v", s, tok)
		}
	})
}

func TestTokenID(t *testing.T) {
	tok, err := NewToken(ForNode)
	if err != nil {
		t.Fatal(err)
	}
	for s, want := range map[string]bool{tok.ID: true, "": false, "abcdefg": false, "abcdefgh2": false, "ABCDEFGH": false, "abcd_fgh": false, tok.Secret(): false} {
		if ValidTokenID(s) != want {
			t.Errorf("%q: %v, want %v", s, !want, want)
		}
	}
}
