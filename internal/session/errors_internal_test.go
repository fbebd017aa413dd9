package session

import (
	"errors"
	"testing"

	"sfm-sidecar/internal/store"
)

func TestStoreErrorSaysWhy(t *testing.T) {
	t.Parallel()
	own, ok := errors.AsType[*Error](storeError(&store.Failure{Op: "put", Reason: store.Full}))
	if !ok || own.Code() != codeStore || own.Detail() != "the shared store is full" {
		t.Errorf("%v", own)
	}
}
