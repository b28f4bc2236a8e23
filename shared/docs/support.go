package docs

import (
	"fmt"
	"slices"
	"strings"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/e2e/proof"
)

const supportHead = `<!-- Generated from shared/catalog and shared/e2e/nodeapi/proof.json, which a run against the real node writes, by "make docs". Changes here are lost. -->

# What works on a stock Crossbar.io node

Every operation and event of a node, on Crossbar.io %s as it is installed, unpatched. What is called shown was seen in the
run of the tests in shared/e2e/nodeapi, through relay and agent: the operation gave a result for good arguments, and refused
bad ones with the errors named here; the event came. In all: %d operations, %d work as the node has them or by the agent alone,
%d are repaired, %d are not possible; %d events.

- **works**: the node does it right, or the agent does it without the node.
- **repaired**: the node does it wrongly or not at all; the agent comes to the result all the same, as said, by the node's
  official procedures only.
- **not possible**: refused with ` + "`cfc.error.not_supported`" + `, for the reason given.

`

// Support is the page SUPPORT.md.
func Support(r proof.Record) string {
	var b strings.Builder
	var all []*catalog.Op
	for _, o := range catalog.All() {
		if proof.Covers(o) {
			all = append(all, o)
		}
	}
	var events []*catalog.Event
	for _, e := range catalog.Events() {
		if proof.CoversEvent(e) {
			events = append(events, e)
		}
	}
	count := map[string]int{}
	for _, o := range all {
		count[state(o.Repair, o.Impossible)]++
	}
	fmt.Fprintf(&b, supportHead, r.Node, len(all), count[works], count[repaired], count[impossible], len(events))
	for i, o := range all {
		if i == 0 || all[i-1].Area != o.Area {
			fmt.Fprintf(&b, "## %s\n\n| operation | on a stock node | how | shown |\n|---|---|---|---|\n", o.Area)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", o.Name, state(o.Repair, o.Impossible), cell(how(o)), shown(o, r.Operations[o.Key()]))
		if i == len(all)-1 || all[i+1].Area != o.Area {
			b.WriteString("\n")
		}
	}
	b.WriteString("## Events\n\n| event | on a stock node | how | shown |\n|---|---|---|---|\n")
	for _, e := range events {
		came := "no"
		switch {
		case slices.Contains(r.Events, e.Key()):
			came = "yes"
		case e.Impossible != "":
			came = "-"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", e.Key(), state(e.Repair, e.Impossible), cell(e.Repair+e.Impossible), came)
	}
	return b.String()
}

const works, repaired, impossible = "works", "repaired", "not possible"

func state(repair, why string) string {
	switch {
	case why != "":
		return impossible
	case repair != "":
		return repaired
	}
	return works
}

// how is the way to the result.
func how(o *catalog.Op) string {
	switch {
	case o.Impossible != "":
		return o.Impossible
	case o.Repair != "":
		return o.Repair
	case o.Forward != "":
		return "The node's own answer, passed on."
	}
	if _, meta := o.MetaProcedure(); meta {
		return "The realm's own answer, passed on."
	}
	return "By the agent."
}

func shown(o *catalog.Op, s *proof.Shown) string {
	switch {
	case o.Impossible != "":
		return "-"
	case (s == nil || !s.Good) && o.Unshown != "":
		return "no: " + o.Unshown
	case s == nil || !s.Good:
		return "no"
	}
	var refusals []string
	for _, uri := range s.Bad {
		refusals = append(refusals, uri[strings.LastIndex(uri, ".")+1:])
	}
	return "yes; refuses with " + strings.Join(refusals, ", ")
}
