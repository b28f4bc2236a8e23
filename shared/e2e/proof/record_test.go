package proof

import "testing"

// TestEveryRowHasProof holds the record of the last whole run against the
// catalogue: what a stock node has a part in was shown, good and bad.
func TestEveryRowHasProof(t *testing.T) {
	r, err := Load("../nodeapi/proof.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range r.Missing() {
		t.Errorf("no run has shown: %s; show it in shared/e2e/nodeapi, and run: go test ./shared/e2e/nodeapi -update && make docs", what)
	}
}
