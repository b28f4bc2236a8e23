package ops

import (
	"fmt"
	"runtime/debug"

	"fabric.center/cfc/shared/cfcerr"
	"go.uber.org/zap"
)

// survive makes a panic of f the error that its caller gets. What was begun in
// the inventory is so ended behind it: else its object would be busy for ever. And
// a restart whose rest fails by a defect does not end each next agent in turn.
func survive[T any](o *Ops, f func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			e, id := cfcerr.Public(fmt.Errorf("panic: %v", p))
			o.log.Error("operation failed by a defect", zap.String("id", id), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			err = e
		}
	}()
	return f()
}
