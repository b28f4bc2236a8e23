package wire

// Role is what a member may do in a management realm. Roles are ordered: each
// may do all that the one below it may.
type Role string

// The roles, weakest first.
const (
	Viewer   Role = "viewer"
	Operator Role = "operator"
	Owner    Role = "owner"
)

// RoleForm says which roles there are, for errors.
const RoleForm = "viewer, operator or owner"

// Rank orders roles; an unknown one ranks below all.
func (r Role) Rank() int {
	switch r {
	case Viewer:
		return 1
	case Operator:
		return 2
	case Owner:
		return 3
	}
	return 0
}

// Valid reports whether r is one of the three.
func (r Role) Valid() bool { return r.Rank() > 0 }

// Narrow is the weaker of two roles.
func (r Role) Narrow(to Role) Role {
	if to.Rank() < r.Rank() {
		return to
	}
	return r
}
