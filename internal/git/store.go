package git

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// Store is a directory of bare repositories. It is safe for use by many
// goroutines, and by several processes on one machine.
type Store struct {
	root string
	git  string
	opt  Options

	mu      sync.Mutex // guards locks and clients
	locks   map[string]*sync.Mutex
	clients map[string]*http.Client // by the way that they take

	readers readers
}

// Open opens the store in root, which is made if it is not there.
func Open(root string, opt Options) (*Store, error) {
	name := opt.Git
	if name == "" {
		name = "git"
	}
	git, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("git store %s: install git 2.36 or newer: %w", root, err)
	}
	root, err = filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("git store %s: %w", root, err)
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("git store %s: %w", root, err)
	}
	for _, id := range opt.FsckIgnore {
		if !isWord(id) {
			return nil, fmt.Errorf("git store %s: fsck message id %q: letters and digits only: %w", root, id, ErrInvalid)
		}
	}
	return &Store{root: root, git: git, opt: opt, locks: map[string]*sync.Mutex{}}, nil
}

func isWord(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// dir is the folder of a project's repository. The name is one path element,
// whatever Gerrit calls the project.
func (s *Store) dir(p Project) (string, error) {
	if err := p.check(); err != nil {
		return "", err
	}
	name := url.PathEscape(p.Name)
	if len(name) > 200 {
		sum := sha256.Sum256([]byte(p.Name))
		name = name[:120] + "~" + hex.EncodeToString(sum[:16])
	}
	return filepath.Join(s.root, p.Gerrit, name+".git"), nil
}

// repo is the folder of a repository that exists.
func (s *Store) repo(p Project) (string, error) {
	dir, err := s.dir(p)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(dir, "HEAD")); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("repository of %s: fetch it first: %w", p, ErrNotFound)
	} else if err != nil {
		return "", fmt.Errorf("repository of %s: %w", p, err)
	}
	return dir, nil
}

// lock holds off fetches and garbage collections of one repository, in this
// process and in others on this machine.
func (s *Store) lock(dir string) (unlock func(), err error) {
	s.mu.Lock()
	l := s.locks[dir]
	if l == nil {
		l = new(sync.Mutex)
		s.locks[dir] = l
	}
	s.mu.Unlock()
	l.Lock()
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		l.Unlock()
		return nil, err
	}
	f, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		l.Unlock()
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		l.Unlock()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { f.Close(); l.Unlock() }, nil
}

// create makes the bare repository if it is not there. The caller holds its lock.
func (s *Store) create(ctx context.Context, dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "HEAD")); err == nil {
		return nil
	}
	tmp := dir + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if _, err := s.run(ctx, call{dir: s.root, noRepo: true},
		"init", "--quiet", "--bare", "--template=", "--initial-branch=main", "--object-format=sha1", "--", tmp); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil { // a folder without HEAD: an init that was killed
		return err
	}
	return os.Rename(tmp, dir)
}

// Remove deletes a project's repository.
func (s *Store) Remove(p Project) error {
	dir, err := s.dir(p)
	if err != nil {
		return err
	}
	unlock, err := s.lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	s.readers.drop(dir)
	return os.RemoveAll(dir)
}

// checkID refuses what is not a full object id.
func checkID(ids ...string) error {
	for _, id := range ids {
		if len(id) != 40 || strings.Trim(id, "0123456789abcdef") != "" {
			return fmt.Errorf("object id %q: want 40 hexadecimal digits: %w", id, ErrInvalid)
		}
	}
	return nil
}

// checkRev refuses what could be anything but an id or a full ref name.
func checkRev(rev string) error {
	if strings.HasPrefix(rev, "refs/") {
		return checkRef(rev)
	}
	return checkID(rev)
}

// checkRef refuses ref names that git would not take, or would take as
// something else: an option, a pattern, a pair, a range.
func checkRef(ref string) error {
	bad := !strings.HasPrefix(ref, "refs/") || strings.HasSuffix(ref, "/") || strings.HasSuffix(ref, ".") ||
		strings.Contains(ref, "..") || strings.Contains(ref, "//") || strings.Contains(ref, "@{") ||
		strings.ContainsAny(ref, " ~^:?*[\\\x7f") || len(ref) > 1024
	for _, part := range strings.Split(ref, "/") {
		bad = bad || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock")
	}
	for i := range len(ref) {
		bad = bad || ref[i] < 0x20
	}
	if bad {
		return fmt.Errorf("ref %q: not a full ref name: %w", ref, ErrInvalid)
	}
	return nil
}
