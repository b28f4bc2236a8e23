// Package yamltext looks at a YAML text before it is decoded: a few lines with
// aliases of aliases can stand for more than any memory holds, and brackets
// within brackets keep a parser busy for hours. What people write does neither.
package yamltext

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	maxDepth    = 64       // of brackets; a message of WAMP may be nested no deeper
	maxUnfolded = 16 << 20 // bytes, with every alias replaced by what it stands for
	nodeWeight  = 16       // bytes that a value counts beside its text
)

// Check refuses a text that must not be decoded. What is no YAML at all is left
// to the decoder, which says so better.
func Check(text []byte) error {
	depth, aliases := 0, false
	for _, t := range lexer.Tokenize(string(text)) {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			if depth++; depth > maxDepth {
				return fmt.Errorf("nested deeper than %d", maxDepth)
			}
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.AliasType:
			aliases = true
		}
	}
	if !aliases {
		return nil
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil
	}
	for _, d := range file.Docs {
		u := unfolding{anchors: map[string]int{}}
		if u.size(d.Body) > maxUnfolded {
			return fmt.Errorf("its aliases stand for more than %d MiB", maxUnfolded>>20)
		}
		if u.endless {
			return errors.New("an alias stands for what it is in")
		}
	}
	return nil
}

// unfolding adds up what a document is with its aliases replaced.
type unfolding struct {
	anchors map[string]int // sizes by name; negative while what is named is being added up
	endless bool
}

func (u *unfolding) size(n ast.Node) int {
	switch n := n.(type) {
	case nil:
		return 0
	case *ast.MappingNode:
		sum := nodeWeight
		for _, v := range n.Values {
			sum = u.add(sum, v)
		}
		return sum
	case *ast.MappingValueNode:
		return u.add(u.add(nodeWeight, n.Key), n.Value)
	case *ast.SequenceNode:
		sum := nodeWeight
		for _, v := range n.Values {
			sum = u.add(sum, v)
		}
		return sum
	case *ast.TagNode:
		return u.size(n.Value)
	case *ast.AnchorNode:
		name := n.Name.String()
		u.anchors[name] = -1
		size := u.size(n.Value)
		u.anchors[name] = size
		return size
	case *ast.AliasNode:
		size := u.anchors[n.Value.String()]
		u.endless = u.endless || size < 0
		return nodeWeight + max(size, 0)
	}
	return nodeWeight + len(n.GetToken().Value)
}

// add stays far from an overflow: what is too much stays so.
func (u *unfolding) add(sum int, n ast.Node) int { return min(sum+u.size(n), maxUnfolded+1) }
