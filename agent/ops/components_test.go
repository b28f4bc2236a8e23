package ops

import "testing"

func TestCheckRouterComponent(t *testing.T) {
	class := d{"type": "class", "classname": "my.mod.X", "realm": "com.a"}
	function := d{"type": "function", "callbacks": d{"join": "my.mod.on_join"}, "realm": "com.a"}
	for name, c := range map[string]struct {
		config d
		want   string
	}{
		"a class":              {with(with(class, "role", "backend"), "extra", d{"n": 1}), ""},
		"a function":           {function, ""},
		"no type":              {with(class, "type", nil), "component_config.type"},
		"an unknown type":      {with(class, "type", "wamplet"), "component_config.type"},
		"no class":             {with(class, "classname", nil), "component_config.classname"},
		"a class of no module": {with(class, "classname", "X"), "component_config.classname"},
		"a class of nothing":   {with(class, "classname", "mod."), "component_config.classname"},
		"a path of a file":     {with(class, "classname", "my/mod.py"), "component_config.classname"},
		"no realm":             {with(class, "realm", nil), "component_config.realm"},
		"a role of no name":    {with(class, "role", 1), "component_config.role"},
		"extra of no dict":     {with(class, "extra", "x"), "component_config.extra"},
		"no callbacks":         {with(function, "callbacks", nil), "component_config.callbacks"},
		"an empty dict":        {with(function, "callbacks", d{}), "component_config.callbacks"},
		"an unknown callback":  {with(function, "callbacks", d{"wake": "a.b"}), "component_config.callbacks.wake"},
		"a callback of no dot": {with(function, "callbacks", d{"join": "b"}), "component_config.callbacks.join"},
	} {
		if got := blamed(t, checkRouterComponent(c.config)); got != c.want {
			t.Errorf("%s: blames %q, expected %q", name, got, c.want)
		}
	}
}
