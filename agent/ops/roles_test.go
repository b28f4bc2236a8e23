package ops

import (
	"testing"

	"fabric.center/cfc/shared/cfcerr"
)

type d = map[string]any

// blamed is the argument that the error names; empty without an error.
func blamed(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	if cfcerr.KindOf(err) != cfcerr.InvalidArgument {
		t.Fatalf("%v is no invalid argument", err)
	}
	e, _ := cfcerr.Public(err)
	argument, _ := e.Details["argument"].(string)
	return argument
}

func TestCheckRole(t *testing.T) {
	may := func(p any) d { return d{"name": "a", "permissions": []any{p}} }
	for name, c := range map[string]struct {
		role d
		want string
	}{
		"static":                  {may(d{"uri": "com.", "match": "prefix", "allow": d{"call": true}, "disclose": d{"caller": true}, "cache": true, "validate": d{}}), ""},
		"dynamic":                 {d{"name": "a", "authorizer": "com.auth"}, ""},
		"no permission":           {d{"name": "a", "permissions": []any{}}, ""},
		"no name":                 {d{"permissions": []any{}}, "role.name"},
		"the router's own":        {d{"name": "trusted", "permissions": []any{}}, "role.name"},
		"neither":                 {d{"name": "a"}, "role"},
		"both":                    {d{"name": "a", "permissions": []any{}, "authorizer": "com.auth"}, "role"},
		"an authorizer of no URI": {d{"name": "a", "authorizer": "my authorizer"}, "role.authorizer"},
		"an authorizer, null":     {d{"name": "a", "authorizer": nil}, "role.authorizer"},
		"permissions of no list":  {d{"name": "a", "permissions": "all"}, "role.permissions"},
		"permissions, null":       {d{"name": "a", "permissions": nil}, "role.permissions"},
		"one of no dict":          {may("com."), "role.permissions[0]"},
		"one without uri":         {may(d{"match": "exact"}), "role.permissions[0].uri"},
		"an unknown key":          {may(d{"uri": "", "allows": d{}}), "role.permissions[0].allows"},
		"an unknown match":        {may(d{"uri": "", "match": "fuzzy"}), "role.permissions[0].match"},
		"allow of no dict":        {may(d{"uri": "", "allow": true}), "role.permissions[0].allow"},
		"allow of no action":      {may(d{"uri": "", "allow": d{"cal": true}}), "role.permissions[0].allow.cal"},
		"allow of no flag":        {may(d{"uri": "", "allow": d{"call": "yes"}}), "role.permissions[0].allow.call"},
		"disclose of whom":        {may(d{"uri": "", "disclose": d{"callee": true}}), "role.permissions[0].disclose.callee"},
		"cache of no flag":        {may(d{"uri": "", "cache": 1}), "role.permissions[0].cache"},
		"validate of no dict":     {may(d{"uri": "", "validate": "x"}), "role.permissions[0].validate"},
	} {
		if got := blamed(t, checkRole("role", c.role)); got != c.want {
			t.Errorf("%s: blames %q, expected %q", name, got, c.want)
		}
	}
}
