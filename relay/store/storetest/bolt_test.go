package storetest_test

import (
	"path/filepath"
	"testing"

	"fabric.center/cfc/relay/store"
	"fabric.center/cfc/relay/store/storetest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBolt(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		s, err := store.Open(filepath.Join(t.TempDir(), "data", "relay.db"), store.Options{NoSync: true, MaxTokens: storetest.MaxTokens})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		return s
	})
}
