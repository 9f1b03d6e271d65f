package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"sluice/internal/job"
)

// A maintainer proposes a change. It is checked and voted on; a reviewer
// approves it; it is tested again as it will be on the branch, merged, and its
// package is in the signed repository, the very bytes that were tested.
func TestGoodChange(t *testing.T) {
	t.Parallel()
	s := start(t, options{}, "hello")
	c := s.propose("hello", "Say hello louder", map[string]string{"src/hello.c": "int main(void) { return 1; }\n"})

	s.voted(c, 1)
	checked := s.told(c, "Check passed")
	if !strings.Contains(checked, "build hello juno/debian-12 amd64: passed in") || !strings.Contains(checked, s.servers[0].URL+"/test/") {
		t.Errorf("the check's comment is:\n%s", checked)
	}

	s.g.Approve(t, c.Number)
	s.merged(c)
	s.told(c, "Merged by the gate")
	s.empty()
	if got := s.vote(c); got != 2 {
		t.Errorf("the gate's vote is %+d", got)
	}
	pkg, ok := s.released("hello")
	if !ok || pkg["Version"] != "1.0-1+sluice1~deb12" {
		t.Fatalf("released is %v", pkg)
	}
	status, bytes := s.get("/repo/juno/debian-12/updates/" + pkg["Filename"])
	sum := sha256.Sum256([]byte(bytes))
	built := s.worker.runs(job.StageBuild, "hello")
	want, err := makeDeb("hello", "hello", pkg["Version"], built[len(built)-1].Tip, "")
	if err != nil {
		t.Fatal(err)
	}
	if tested := sha256.Sum256(want); status != 200 || sum != tested || hex.EncodeToString(sum[:]) != pkg["SHA256"] {
		t.Errorf("published are other bytes than were tested: status %d, %x, %x, index %s", status, sum, tested, pkg["SHA256"])
	}
	if len(built) != 1 {
		t.Errorf("built %d times: the gate's base is the check's, so that its result stands\n%+v", len(built), built)
	}
}
