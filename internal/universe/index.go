package universe

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/singleflight"

	"sluice/internal/deb"
	"sluice/internal/job"
	"sluice/internal/rpm"
	"sluice/internal/solve"
)

// Files opens what is below the service's address: /upstream/, /publication/, /test/.
type Files interface {
	Open(ctx context.Context, path string) (io.ReadCloser, error)
}

// maxKept is how many indices are kept; the one that was not used for longest goes first.
const maxKept = 64

// maxIndex bounds an unpacked index, in bytes.
const maxIndex = 4 << 30

// Reader reads indices and keeps them. Make one with NewReader.
type Reader struct {
	files   Files
	flights singleflight.Group

	mu   sync.Mutex // guards kept, used and tick
	kept map[string]*solve.Index
	used map[string]int64
	tick int64
}

// NewReader makes a reader of what files has.
func NewReader(files Files) *Reader {
	return &Reader{files: files, kept: map[string]*solve.Index{}, used: map[string]int64{}}
}

// Warm reads the index of a base distribution's repository.
func (r *Reader) Warm(ctx context.Context, repository job.Repository, architecture string) error {
	_, err := r.read(ctx, repository, architecture, "")
	return err
}

// index is a repository's packages for one architecture.
type index struct {
	*solve.Index
	repository job.Repository
	state      string // digest of all that it was made of
	// manual: APT's NotAutomatic, its packages are not taken by themselves.
	manual bool
}

// read gives the index of a repository. Its state is looked at each time;
// what has not changed is not read again.
func (r *Reader) read(ctx context.Context, repository job.Repository, architecture, origin string) (index, error) {
	if origin == "" && repository.Kind == job.Released {
		origin = "released"
	}
	var x index
	var err error
	if repository.Format == job.RPM {
		x, err = r.readRPM(ctx, repository, origin)
	} else {
		x, err = r.readDEB(ctx, repository, architecture, origin)
	}
	if err != nil {
		return x, fmt.Errorf("the index of %s: %w", repository.Name, err)
	}
	x.repository = repository
	return x, nil
}

func (r *Reader) readDEB(ctx context.Context, repository job.Repository, architecture, origin string) (index, error) {
	dir := repository.Path + path.Join("dists", repository.Suite) + "/"
	text, err := r.release(ctx, dir)
	if err != nil {
		return index{}, err
	}
	files, manual := releaseFiles(text)
	var parts []*solve.Index
	for _, component := range repository.Components {
		name := path.Join(component, "binary-"+architecture, "Packages")
		part, err := r.first(ctx, files, name, func(digest, p string) (*solve.Index, error) {
			from := strings.TrimSpace(fmt.Sprintf("%s %s", repository.Suite, component))
			if origin != "" {
				from = origin
			}
			return r.packages(ctx, dir+p, digest, from, architecture)
		})
		if err != nil {
			return index{}, err
		}
		if part != nil {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return index{}, fmt.Errorf("%sInRelease names no Packages for %s", dir, architecture)
	}
	x := index{Index: parts[0], state: debState(files, repository, architecture), manual: manual}
	if len(parts) > 1 {
		x.Index, err = r.keep(x.state+" "+origin+" "+architecture, func() (*solve.Index, error) {
			var all []*solve.Package
			for _, p := range parts {
				all = append(all, p.Packages...)
			}
			return solve.NewIndex(all, debMentions), nil
		})
	}
	return x, err
}

func (r *Reader) release(ctx context.Context, dir string) ([]byte, error) {
	text, err := r.get(ctx, dir+"InRelease")
	if err != nil {
		text, err = r.get(ctx, dir+"Release")
	}
	return text, err
}

// forms are those that an index can be there in, the quickest to read first.
var forms = []string{".gz", ".zst", ".xz", "", ".bz2"}

// debState names the state of a repository's packages for an architecture.
func debState(files map[string]string, repository job.Repository, architecture string) string {
	h := sha256.New()
	for _, component := range repository.Components {
		for _, form := range forms {
			name := path.Join(component, "binary-"+architecture, "Packages") + form
			fmt.Fprintln(h, name, files[name])
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// State names the state of a repository's packages, without reading them; ""
// if it is out of reach.
func (r *Reader) State(ctx context.Context, repository job.Repository, architecture string) string {
	if repository.Format == job.RPM {
		text, err := r.get(ctx, repository.Path+"repodata/repomd.xml")
		if err != nil {
			return ""
		}
		_, data, err := rpm.ReadRepomd(text)
		for _, d := range data {
			if err == nil && d.Type == "primary" {
				return d.SHA256
			}
		}
		return ""
	}
	text, err := r.release(ctx, repository.Path+path.Join("dists", repository.Suite)+"/")
	if err != nil {
		return ""
	}
	files, _ := releaseFiles(text)
	return debState(files, repository, architecture)
}

// first reads the first form of an index that is vouched for and there. A
// component that has no such index is left out.
func (r *Reader) first(ctx context.Context, files map[string]string, name string, read func(digest, path string) (*solve.Index, error)) (*solve.Index, error) {
	var errs []error
	for _, suffix := range forms {
		digest, ok := files[name+suffix]
		if !ok {
			continue
		}
		x, err := read(digest, name+suffix)
		if err == nil {
			return x, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// releaseFiles reads the digests of a Release or InRelease file.
func releaseFiles(text []byte) (files map[string]string, manual bool) {
	files = map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		if rest, found := strings.CutPrefix(line, "NotAutomatic:"); found {
			manual = strings.TrimSpace(rest) == "yes"
		}
		if f := strings.Fields(line); len(f) == 3 && line[0] == ' ' && len(f[0]) == sha256.Size*2 {
			if _, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				files[f[2]] = f[0]
			}
		}
	}
	return files, manual
}

func (r *Reader) packages(ctx context.Context, p, digest, origin, architecture string) (*solve.Index, error) {
	return r.keep(digest+" "+origin+" "+architecture, func() (*solve.Index, error) {
		var all []*solve.Package
		err := r.unpack(ctx, p, digest, func(in io.Reader) error {
			return deb.ReadPackages(in, func(l deb.Listed) { all = append(all, debListed(l, origin, architecture)) })
		})
		if err != nil {
			return nil, err
		}
		return solve.NewIndex(all, debMentions), nil
	})
}

func (r *Reader) readRPM(ctx context.Context, repository job.Repository, origin string) (index, error) {
	text, err := r.get(ctx, repository.Path+"repodata/repomd.xml")
	if err != nil {
		return index{}, err
	}
	_, data, err := rpm.ReadRepomd(text)
	if err != nil {
		return index{}, err
	}
	if origin == "" {
		origin = repository.Name
	}
	for _, d := range data {
		if d.Type != "primary" {
			continue
		}
		x, err := r.keep(d.SHA256+" "+origin, func() (*solve.Index, error) {
			var all []*solve.Package
			err := r.unpack(ctx, repository.Path+d.Path, d.SHA256, func(in io.Reader) error {
				return rpm.EachIndexed(in, func(p rpm.Indexed) { all = append(all, rpmIndexed(p, origin)) })
			})
			if err != nil {
				return nil, err
			}
			return solve.NewIndex(all, nil), nil
		})
		return index{Index: x, state: d.SHA256}, err
	}
	return index{}, fmt.Errorf("%srepodata/repomd.xml names no primary", repository.Path)
}

// get reads a small file.
func (r *Reader) get(ctx context.Context, p string) ([]byte, error) {
	f, err := r.files.Open(ctx, p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 64<<20))
}

// unpack opens an index, holds it to its digest and unpacks it.
func (r *Reader) unpack(ctx context.Context, p, digest string, read func(io.Reader) error) error {
	f, err := r.files.Open(ctx, p)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := &summed{Reader: f, sum: sha256.New()}
	in, done, err := unpacked(p, sum)
	if err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	err = read(io.LimitReader(in, maxIndex))
	done()
	if err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	if _, err := io.Copy(io.Discard, sum); err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	if got := hex.EncodeToString(sum.sum.Sum(nil)); len(digest) == sha256.Size*2 && got != digest {
		return fmt.Errorf("%s has the digest %s, and its repository says %s", p, got, digest)
	}
	return nil
}

type summed struct {
	io.Reader
	sum hash.Hash
}

func (s *summed) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.sum.Write(p[:n])
	return n, err
}

func unpacked(name string, r io.Reader) (io.Reader, func(), error) {
	nothing := func() {}
	switch path.Ext(name) {
	case ".gz":
		z, err := gzip.NewReader(r)
		return z, nothing, err
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nothing, err
		}
		return z, z.Close, nil
	case ".bz2":
		return bzip2.NewReader(r), nothing, nil
	case ".xz":
		z, err := deb.UnpackXZ(r)
		return z, nothing, err
	}
	return r, nothing, nil
}

// keep gives what was made under a key, or makes it, once for all who ask.
func (r *Reader) keep(key string, make func() (*solve.Index, error)) (*solve.Index, error) {
	if x := r.look(key); x != nil {
		return x, nil
	}
	x, err, _ := r.flights.Do(key, func() (any, error) {
		if x := r.look(key); x != nil {
			return x, nil
		}
		x, err := make()
		if err != nil {
			return nil, err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.kept[key] = x
		r.tick++
		r.used[key] = r.tick
		for len(r.kept) > maxKept {
			oldest := key
			for k, t := range r.used {
				if t < r.used[oldest] {
					oldest = k
				}
			}
			delete(r.kept, oldest)
			delete(r.used, oldest)
		}
		return x, nil
	})
	if err != nil {
		return nil, err
	}
	return x.(*solve.Index), nil
}

func (r *Reader) look(key string) *solve.Index {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.kept[key]
	if x != nil {
		r.tick++
		r.used[key] = r.tick
	}
	return x
}
