package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sluice/internal/blob"
	"sluice/internal/fsck"
	"sluice/internal/signing"
)

// The oracle names each damage by its kind, and is content again once it is mended.
func TestFsckNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "hello")
	for _, text := range []string{"2", "3"} { // two publications, so that a pointer can be moved
		c := s.propose("hello", "Return "+text, map[string]string{"src/hello.c": "int main(void) { return " + text + "; }\n"})
		s.g.Approve(t, c.Number)
		s.merged(c)
		s.empty()
	}
	pkg, _ := s.released("hello")
	digest := pkg["SHA256"]
	exported, err := filepath.Glob(filepath.Join(s.dir, "export/juno/debian-12/updates/current/dists/bookworm/InRelease"))
	if err != nil || len(exported) != 1 {
		t.Fatalf("exported: %v, %v", exported, err)
	}
	for _, c := range []struct {
		kind, words string
		damage      func() (mend func())
	}{
		{"corrupt blob", digest[:8], func() func() { return s.spoil(s.blob(digest)) }},
		{"lost blob", digest, func() func() { return s.takeAway(s.blob(digest)) }},
		{"moved pointer", "juno/debian-12/updates", func() func() {
			s.exec(`UPDATE repositories SET publication = publication - 1 WHERE publication IS NOT NULL`)
			return func() { s.exec(`UPDATE repositories SET publication = publication + 1 WHERE publication IS NOT NULL`) }
		}},
		{"lost row", "hello", func() func() {
			s.exec(`CREATE TABLE kept AS SELECT * FROM artifacts`)
			s.exec(`DELETE FROM artifacts WHERE kind = 'package'`)
			return func() {
				s.exec(`INSERT INTO artifacts SELECT * FROM kept ON CONFLICT DO NOTHING`)
				s.exec(`DROP TABLE kept`)
			}
		}},
		{"InRelease", "updates", func() func() { return s.spoil(exported[0]) }},
	} {
		mend := c.damage()
		out := s.fsckOutput()
		mend()
		if !strings.Contains(out, c.kind) || !strings.Contains(out, c.words) {
			t.Errorf("%s: fsck says\n%s", c.kind, out)
		}
	}
}

// Beside a service at work, the oracle waits for the export of what was published
// a moment ago, and does not call it a damage.
func TestFsckWaitsForAnExport(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "hello")
	name := "juno/debian-12/updates"
	holding := make(chan struct{})
	goOn := make(chan struct{})
	var held sync.WaitGroup
	held.Go(func() {
		err := s.store.Locked(t.Context(), "export "+name, func(context.Context) error {
			close(holding)
			<-goOn
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-holding
	c := s.good("hello")
	s.g.Approve(t, c.Number)
	s.merged(c)
	s.until("it is published", func() string {
		return missing(countOf(s, `SELECT count(*) FROM publications`) > 0, "not yet")
	})
	blobs, err := blob.OpenFS(filepath.Join(s.dir, "data/blobs"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := signing.Load(filepath.Join(s.dir, "data/keys/release.asc"), nil)
	if err != nil {
		t.Fatal(err)
	}
	var waits sync.Once
	found, err := fsck.Run(t.Context(), fsck.Options{
		Rows: s.store, Blobs: blobs, Export: filepath.Join(s.dir, "export"), ExportDue: patience, Keys: signing.NewSigner(key).PublicBinary(),
		Progress: func(format string, args ...any) {
			if strings.Contains(format, "not exported yet") {
				waits.Do(func() { close(goOn) })
			}
		},
	})
	if err != nil || len(found) > 0 {
		t.Errorf("%v, %v", found, err)
	}
	held.Wait()
	s.empty()
}

func (s *site) fsckOutput() string {
	s.t.Helper()
	srv := s.servers[0].Service
	srv.Database = s.dsn
	err := srv.Fsck()
	if err == nil {
		s.t.Fatal("fsck finds nothing")
	}
	return err.Error()
}

// blob is a blob's file.
func (s *site) blob(digest string) string {
	s.t.Helper()
	var found string
	err := filepath.WalkDir(filepath.Join(s.dir, "data/blobs"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (d.Name() == digest || strings.HasSuffix(path, digest[:2]+"/"+digest[2:])) {
			found = path
		}
		return err
	})
	if err != nil || found == "" {
		s.t.Fatalf("no file of the blob %s: %v", digest, err)
	}
	return found
}

// spoil puts another file in the place of one, beside any hard link of it.
func (s *site) spoil(file string) (mend func()) {
	s.t.Helper()
	mend = s.takeAway(file)
	text, err := os.ReadFile(file + ".kept")
	if err != nil {
		s.t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(file, text, 0o644); err != nil {
		s.t.Fatal(err)
	}
	return mend
}

func (s *site) takeAway(file string) (mend func()) {
	s.t.Helper()
	if err := os.Rename(file, file+".kept"); err != nil {
		s.t.Fatal(err)
	}
	return func() {
		if err := os.Rename(file+".kept", file); err != nil {
			s.t.Error(err)
		}
	}
}
