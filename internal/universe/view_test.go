package universe

import (
	"strings"
	"testing"

	"sluice/internal/job"
	"sluice/internal/plan"
	"sluice/internal/rpm"
)

// A view offers what the package manager would take, and knows what is away.
func TestView(t *testing.T) {
	f := folder{}
	up := f.apt("/upstream/debian/0/amd64/", "bookworm", "Package: lib\nVersion: 3", "Package: libc6\nVersion: 2.36", "Package: mta\nVersion: 1\nProvides: mail")
	security := f.apt("/upstream/debian/1/amd64/", "security", "Package: libc6\nVersion: 2.37")
	backports := f.apt("/upstream/debian/2/amd64/", "backports", "Package: libc6\nVersion: 9")
	f[backports.Path+"dists/backports/InRelease"] = append([]byte("NotAutomatic: yes\n"), f[backports.Path+"dists/backports/InRelease"]...)
	gone := job.Repository{Name: "gone", Path: "/upstream/gone/", Kind: job.Upstream, Format: job.DEB, Suite: "x", Components: []string{"main"}}
	released := f.apt("/publication/1/", "bookworm", "Package: lib\nVersion: 2\nDepends: libc6 | mail")
	for _, r := range []*job.Repository{&up, &security, &backports} {
		r.Kind, r.Priority = job.Upstream, 500
	}
	released.Kind, released.Priority = job.Released, 990
	r := NewReader(f)
	v, err := r.View(t.Context(), []job.Repository{up, security, backports, gone, released}, "amd64", nil)
	if err != nil {
		t.Fatal(err)
	}
	if o := v.Offer("lib"); o.Is == nil || o.Is.Version != "2" || strings.Join(o.Is.Mentions(), " ") != "libc6 mail" {
		t.Errorf("lib: %+v", o.Is)
	}
	if o := v.Offer("libc6"); o.Is == nil || o.Is.Version != "2.37" {
		t.Errorf("libc6: %+v", o.Is)
	}
	if o := v.Offer("mail"); o.Is != nil || len(o.By) != 1 || o.By[0].Name != "mta" {
		t.Errorf("mail: %+v", o)
	}
	if !v.Away("gone") || v.Away(up.Name) || r.State(t.Context(), gone, "amd64") != "" {
		t.Error("only one is away")
	}
	before := r.State(t.Context(), up, "amd64")
	f.apt("/upstream/debian/0/amd64/", "bookworm", "Package: lib\nVersion: 4")
	if now := r.State(t.Context(), up, "amd64"); now == before || before == "" {
		t.Errorf("the state was %q and is %q", before, now)
	}
}

// An RPM that has been signed is the one that was tested.
func TestViewRPM(t *testing.T) {
	f := folder{}
	up := f.dnf("/upstream/el/", rpmPackage("lib", "9", nil))
	released := f.dnf("/publication/1/", rpmPackage("lib", "1", nil))
	up.Kind, up.Priority, released.Kind, released.Priority = job.Upstream, 99, job.Released, 50
	signed := digest([]byte("lib" + rpm.EVR{Version: "1", Release: "1"}.String()))
	v, err := NewReader(f).View(t.Context(), []job.Repository{up, released}, "x86_64", map[string]string{signed: "tested"})
	if err != nil {
		t.Fatal(err)
	}
	o := v.Offer("lib").Is
	if o == nil || o.Version != "1-1" || o.Tested != "tested" || string(o.Digest) != signed {
		t.Fatalf("lib: %+v", o)
	}
	trace := job.Trace{Served: map[string]job.Served{"lib": {Version: "1-1", Digest: "tested", Repository: "buildset-3"}}}
	trace.Around = plan.Around(trace, v)
	if ok, why := plan.Holds(trace, v); !ok {
		t.Error(why)
	}
}
