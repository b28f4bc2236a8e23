package ops

import (
	"testing"

	"fabric.center/cfc/shared/catalog"
)

func target(more ...any) d {
	t := d{"type": "websocket", "url": "ws://h:1", "endpoint": d{"type": "tcp", "host": "h", "port": 1}}
	return change(t, more...)
}

// change sets keys of a dict, or takes those away whose value is absent.
func change(in d, more ...any) d {
	out := d{}
	for k, v := range in {
		out[k] = v
	}
	for i := 0; i < len(more); i += 2 {
		if out[more[i].(string)] = more[i+1]; more[i+1] == absent {
			delete(out, more[i].(string))
		}
	}
	return out
}

const absent = "\x00"

func TestCheckHosted(t *testing.T) {
	good := d{"type": "class", "classname": "a.B", "realm": "com.a", "transport": target()}
	endpoint := func(e any) any { return target("endpoint", e) }
	for name, c := range map[string]struct {
		config d
		want   string
	}{
		"a class":             {good, ""},
		"functions":           {change(good, "type", "function", "classname", absent), ""},
		"with extra":          {change(good, "extra", d{"a": 1}), ""},
		"through a socket":    {change(good, "transport", target("type", "rawsocket", "url", absent, "endpoint", d{"type": "unix", "path": "x"})), ""},
		"no type":             {change(good, "type", absent), "component_config.type"},
		"another type":        {change(good, "type", "wamplet"), "component_config.type"},
		"a class of nothing":  {change(good, "classname", "B"), "component_config.classname"},
		"no class":            {change(good, "classname", absent), "component_config.classname"},
		"no realm":            {change(good, "realm", absent), "component_config.realm"},
		"extra of no dict":    {change(good, "extra", "a"), "component_config.extra"},
		"no transport":        {change(good, "transport", absent), "component_config.transport"},
		"another transport":   {change(good, "transport", target("type", "web")), "component_config.transport.type"},
		"no url":              {change(good, "transport", target("url", absent)), "component_config.transport.url"},
		"an odd serializer":   {change(good, "transport", target("type", "rawsocket", "serializer", 1)), "component_config.transport.serializer"},
		"no endpoint":         {change(good, "transport", endpoint(nil)), "component_config.transport.endpoint"},
		"another endpoint":    {change(good, "transport", endpoint(d{"type": "pipe"})), "component_config.transport.endpoint.type"},
		"no host":             {change(good, "transport", endpoint(d{"type": "tcp", "port": 1})), "component_config.transport.endpoint.host"},
		"no port":             {change(good, "transport", endpoint(d{"type": "tcp", "host": "h"})), "component_config.transport.endpoint.port"},
		"a port out of range": {change(good, "transport", endpoint(d{"type": "tcp", "host": "h", "port": 65536})), "component_config.transport.endpoint.port"},
		"no path":             {change(good, "transport", endpoint(d{"type": "unix"})), "component_config.transport.endpoint.path"},
	} {
		if got := blamed(t, checkHosted(c.config)); got != c.want {
			t.Errorf("%s: blames %q, expected %q", name, got, c.want)
		}
	}
}

func TestFormsOfAComponentToBe(t *testing.T) {
	config := d{"type": "class"}
	for name, c := range map[string]struct {
		component any
		config    d
		id, want  string
	}{
		"an id":             {"a", config, "a", ""},
		"null":              {nil, config, "", ""},
		"the configuration": {config, nil, "", ""},
		"an odd id":         {"a.b", config, "", "component_id"},
		"no id":             {7, config, "", "component_id"},
		"two of them":       {config, config, "", "component_config"},
		"none":              {"a", nil, "", "component_config"},
	} {
		id, got, err := hostedToBe(catalog.StartHostedIn{Component: c.component, Config: c.config})
		if b := blamed(t, err); b != c.want || id != c.id && err == nil || err == nil && got["type"] != "class" {
			t.Errorf("%s: gives %q, %v, blames %q", name, id, got, b)
		}
	}
}
